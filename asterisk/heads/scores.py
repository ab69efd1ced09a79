"""Scores of a head's predictions: of all texts, and of each class."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from asterisk.data.labels import MULTI, REGRESSION
from asterisk.evaluation.metrics.functions import load_metric

# Name → value: accuracy and macro_f1 × 100, or pearson and spearman × 100, None where these are not defined.
Scores = dict[str, float | None]

# Loading takes a moment each time, and repeats score often.
_metric = cache(load_metric)


def predicted_labels(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """What logits (texts, classes) say: class numbers (texts,), zeros and ones (texts, classes), or the numbers."""
    if problem_type == REGRESSION:
        return logits
    # A probability above one half.
    return (logits > 0).astype(np.int64) if problem_type == MULTI else logits.argmax(axis=1)


def score(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> Scores:
    """Accuracy and macro-F1, or, of numbers, Pearson and Spearman correlation, all × 100.

    Args:
        logits: (texts, classes).
        labels: As [`asterisk.data.labels.label_array`] gives them.
        problem_type: As there.
    """
    predictions = predicted_labels(logits, problem_type)
    if problem_type == REGRESSION:
        if len(labels) < 2:
            return {"pearson": None, "spearman": None}
        metric = _metric("regression")
        found = metric.compute(predictions=predictions[:, 0].tolist(), references=labels[:, 0].tolist())
    else:
        metric = _metric("classification", "multilabel" if problem_type == MULTI else None)
        found = metric.compute(predictions=predictions, references=labels.astype(np.int64))
    return {name: 100 * value if np.isfinite(value) else None for name, value in found.items()}


def score_labels(predictions: np.ndarray, labels: np.ndarray) -> Scores:
    """The same as [`score`], at once: thresholds and learning curves ask for it hundreds of times.

    Accuracy (of several labels: the share of texts with all right) and macro-F1, × 100, as scikit-learn's.

    Macro-F1 is the mean over the classes that occur among predictions or labels; of several labels, over all.

    Args:
        predictions: Class numbers (texts,), or zeros and ones (texts, classes).
        labels: The same, as they should be.
    """
    right = predictions == labels
    if labels.ndim == 2:
        right, classes = right.all(axis=1), labels.shape[1]
    else:
        classes = int(max(predictions.max(initial=0), labels.max(initial=0))) + 1
    found, predicted, present = _counts(predictions, labels, classes)
    either = predicted + present
    occurs = either > 0 if labels.ndim == 1 else np.ones(classes, bool)
    f1 = 2 * found / np.maximum(either, 1)
    return {"accuracy": 100 * float(right.mean()), "macro_f1": 100 * float(f1[occurs].mean())}


def _counts(predictions: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class: how often it is rightly predicted, predicted, and there."""
    if labels.ndim == 2:
        there = labels.astype(np.int64)
        return (predictions * there).sum(axis=0), predictions.sum(axis=0), there.sum(axis=0)
    parts = (labels[predictions == labels], predictions, labels)
    right, predicted, present = (np.bincount(part, minlength=classes) for part in parts)
    return right, predicted, present


def score_classes(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each class precision, recall and F1 × 100 (0 where undefined), and its number of texts.

    Args:
        predictions: Class numbers (texts,), or zeros and ones (texts, classes).
        labels: The same, as they should be.
        names: Of the classes.
    """
    right, predicted, present = _counts(predictions, labels, len(names))
    precision, recall = 100 * right / np.maximum(predicted, 1), 100 * right / np.maximum(present, 1)
    f1 = 200 * right / np.maximum(predicted + present, 1)
    columns = (column.tolist() for column in (precision, recall, f1, present))
    return [
        {"label": name, "precision": p, "recall": r, "f1": f, "texts": count}
        for name, p, r, f, count in zip(names, *columns, strict=True)
    ]


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Class → predicted class → number of texts, without the zeros: of 10,000 classes they are nearly all."""
    cells, counts = np.unique(labels * len(names) + predictions, return_counts=True)
    matrix: dict[str, dict[str, int]] = {}
    for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
        matrix.setdefault(names[cell // len(names)], {})[names[cell % len(names)]] = count
    return matrix


def spread(scores: Sequence[Scores]) -> dict[str, dict[str, float | None]]:
    """Of each score the mean over several trainings and its standard deviation (None of a single one)."""
    found = {}
    for name in scores[0]:
        values = [value for own in scores if (value := own[name]) is not None]
        found[name] = {
            "mean": float(np.mean(values)) if values else None,
            "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        }
    return found
