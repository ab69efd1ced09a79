"""What a classification head reached: scores, each class's precision and recall, and which classes it confuses."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.labelled_data import MULTI, REGRESSION
from asterisk.manifest import appearing, write_json
from asterisk.metrics import load_metric
from asterisk.tables import aligned_table

# Name → value: accuracy and macro_f1 × 100, or pearson and spearman × 100, None where these are not defined.
Scores = dict[str, float | None]

# Loading takes a moment each time, and repeats score often.
_metric = cache(load_metric)

# A confusion matrix of more classes is too wide to read; then the most frequent confusions are listed.
MATRIX_CLASSES = 20
MOST_FREQUENT = 20


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
        labels: As [`asterisk.labelled_data.label_array`] gives them.
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


def score_classes(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str], problem_type: str
) -> list[dict[str, Any]]:
    """Of each class precision, recall and F1 × 100 (0 where undefined), and its number of texts."""
    from sklearn.metrics import precision_recall_fscore_support  # takes a second to import

    predictions = predicted_labels(logits, problem_type)
    columns = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), average=None, zero_division=0
    )
    return [
        {"label": name, "precision": 100 * p, "recall": 100 * r, "f1": 100 * f, "texts": int(count)}
        for name, p, r, f, count in zip(names, *(column.tolist() for column in columns), strict=True)
    ]


def confusion_matrix(logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Class → predicted class → number of texts, without the zeros: of 10,000 classes they are nearly all."""
    cells, counts = np.unique(labels * len(names) + logits.argmax(axis=1), return_counts=True)
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


def write_head_report(folder: Path, report: dict[str, Any]) -> str:
    """Writes report.json and report.md; gives the table of scores, which is the latter's first."""
    write_json(folder / "report.json", report)
    scores = _score_table(report)
    parts = [f"# {report['mode']} head on {report['model']}", _data_table(report), scores]
    if classes := report.get("classes"):
        split = report["detail"]
        rows = [["label", "precision", "recall", "F1", "texts"]]
        rows += [
            [_cell(line["label"]), *(f"{line[key]:.1f}" for key in ("precision", "recall", "f1")), str(line["texts"])]
            for line in classes
        ]
        parts += [f"## Labels ({split})", aligned_table(rows)]
        if matrix := report.get("confusion"):
            parts += [f"## Confusion ({split})", _confusion_table(matrix, [line["label"] for line in classes])]
    with appearing(folder / "report.md") as temporary:
        temporary.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return scores


def _data_table(report: dict[str, Any]) -> str:
    rows = [["split", "texts", "truncated"]]
    rows += [[name, f"{part['texts']:,}", f"{part['truncated']:.1%}"] for name, part in report["data"].items()]
    return aligned_table(rows)


def _score_table(report: dict[str, Any]) -> str:
    """Scores of the saved model, and the mean over the repeats if there are several."""
    splits = [split for split in ("development", "test") if report["repeats"][0][split] is not None]
    if not splits:
        return ""
    names = list(report["repeats"][0][splits[0]])
    several = len(report["repeats"]) > 1
    rows = [["split", *names, *([f"mean {name} of {len(report['repeats'])}" for name in names] if several else [])]]
    for split in splits:
        saved = report["repeats"][report["saved_repeat"]][split]
        line = [split, *(_number(saved[name]) for name in names)]
        if several:
            for name in names:
                own = report["mean"][split][name]
                line.append(f"{_number(own['mean'])} ± {_number(own['deviation'])}")
        rows.append(line)
    return aligned_table(rows)


def _confusion_table(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> str:
    """The matrix, a line for each class; or the most frequent confusions, where there are many classes."""
    if len(names) <= MATRIX_CLASSES:
        rows = [["label \\ predicted", *map(_cell, names)]]
        rows += [[_cell(name), *(str(matrix.get(name, {}).get(other, 0)) for other in names)] for name in names]
        return aligned_table(rows)
    wrong = [(-count, own, other) for own, line in matrix.items() for other, count in line.items() if own != other]
    rows = [["label", "predicted", "texts"]]
    rows += [[_cell(own), _cell(other), str(-count)] for count, own, other in sorted(wrong)[:MOST_FREQUENT]]
    return aligned_table(rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
