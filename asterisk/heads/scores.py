"""Scores of a head's predictions: over all texts, and per class.

`logits` are (texts, classes); `labels` come from [`asterisk.data.labels.label_array`]; `problem_type` is one of the
types in its module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from asterisk.data.labels import MULTI, REGRESSION
from asterisk.evaluation.metrics.functions import accuracy_and_macro_f1, load_metric

# Metric → value × 100: accuracy and macro_f1, or pearson and spearman; None where undefined.
MetricValues = dict[str, float | None]

# Loading a metric is slow, and every repeat needs it.
_metric = cache(load_metric)


@dataclass
class ClassScores:
    """Precision, recall and F1 of one class × 100 (0 where undefined), and its number of texts."""

    label: str
    precision: float
    recall: float
    f1: float
    texts: int


@dataclass
class Spread:
    """Mean of a metric over several trainings, and its standard deviation (None for a single training)."""

    mean: float | None
    deviation: float | None


def predicted_labels(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Return class numbers (texts,); for several labels per text, zeros and ones; for a regression, the logits."""
    if problem_type == REGRESSION:
        return logits
    # A positive logit is a probability above one half.
    return (logits > 0).astype(np.int64) if problem_type == MULTI else logits.argmax(axis=1)


def score(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> MetricValues:
    """Return the accuracy and macro-F1 of logits, or the correlations of a regression, all × 100."""
    predictions = predicted_labels(logits, problem_type)
    if problem_type == REGRESSION:
        if len(labels) < 2:
            return {"pearson": None, "spearman": None}
        metric = _metric("regression")
        values = metric.compute(predictions=predictions[:, 0].tolist(), references=labels[:, 0].tolist())
    else:
        metric = _metric("classification", "multilabel" if problem_type == MULTI else None)
        values = metric.compute(predictions=predictions, references=labels.astype(np.int64))
    return {name: 100 * value if np.isfinite(value) else None for name, value in values.items()}


def score_labels(predictions: np.ndarray, labels: np.ndarray) -> MetricValues:
    """Return the accuracy and macro-F1 × 100 of [`predicted_labels`], without loading the `evaluate` library."""
    return {name: 100 * value for name, value in accuracy_and_macro_f1(predictions, labels).items()}


def score_classes(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[ClassScores]:
    """Return the scores of each class, from [`predicted_labels`] and true labels of the same form."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predictions, labels=range(len(names)), zero_division=0)
    return [
        ClassScores(name, 100 * float(precision), 100 * float(recall), 100 * float(f1), int(texts))
        for name, precision, recall, f1, texts in zip(names, *columns, strict=True)
    ]


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return class → predicted class → number of texts, without zeros, because most are zero with many classes."""
    cells, counts = np.unique(labels * len(names) + predictions, return_counts=True)
    matrix: dict[str, dict[str, int]] = {}
    for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
        matrix.setdefault(names[cell // len(names)], {})[names[cell % len(names)]] = count
    return matrix


def spread(scores: Sequence[MetricValues]) -> dict[str, Spread]:
    """Return the mean and the standard deviation of each metric over several trainings."""
    spreads = {}
    for name in scores[0]:
        values = [value for line in scores if (value := line[name]) is not None]
        spreads[name] = Spread(
            mean=float(np.mean(values)) if values else None,
            deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        )
    return spreads
