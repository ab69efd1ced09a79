"""The report's figures are the field's own, and fit on a page whatever the number of classes."""

import json
from pathlib import Path

import numpy as np
import pytest

from asterisk.labelled_data import MULTI, REGRESSION, SINGLE

NAMES = ["cat", "dog", "a|b"]
# Predicted: cat, cat, dog, a|b.
LOGITS = np.array([[2.0, 1, 0], [2, 1, 0], [0, 3, 1], [0, 1, 2]])
LABELS = np.array([0, 1, 1, 1])


def test_each_class_has_its_precision_and_recall() -> None:
    cat, dog, other = score_classes(LOGITS, LABELS, NAMES, SINGLE)
    assert (cat["precision"], cat["recall"], cat["texts"]) == (50, 100, 1)
    assert (dog["precision"], dog["recall"], dog["texts"]) == (100, pytest.approx(100 / 3), 3)
    assert (other["precision"], other["recall"], other["f1"], other["texts"]) == (0, 0, 0, 0)
    assert score(LOGITS, LABELS, SINGLE)["accuracy"] == 50


def test_confusion_matrix_holds_what_is_not_zero() -> None:
    assert confusion_matrix(LOGITS, LABELS, NAMES) == {"cat": {"cat": 1}, "dog": {"cat": 1, "dog": 1, "a|b": 1}}
    many = np.arange(10_000)
    names = [str(number) for number in many]
    assert len(confusion_matrix(np.eye(100, 10_000), many[:100], names)) == 100


def test_several_labels_are_those_above_one_half() -> None:
    logits, labels = np.array([[1.0, -1], [1, 1]]), np.array([[1.0, 0], [1, 0]], np.float32)
    assert score(logits, labels, MULTI)["accuracy"] == 50
    first, second = score_classes(logits, labels, NAMES[:2], MULTI)
    assert (first["precision"], second["precision"]) == (100, 0)


def test_numbers_are_correlated_where_that_is_defined() -> None:
    numbers = np.array([[1.0], [2], [3]])
    assert score(numbers, 2 * numbers + 1, REGRESSION) == pytest.approx({"pearson": 100, "spearman": 100})
    assert score(numbers[:1], numbers[:1], REGRESSION) == {"pearson": None, "spearman": None}


def test_repeats_have_a_mean_and_a_deviation() -> None:
    assert spread([{"accuracy": 50.0}, {"accuracy": 54.0}]) == {
        "accuracy": {"mean": 52.0, "deviation": pytest.approx(8**0.5)}
    }
    assert spread([{"accuracy": 50.0}]) == {"accuracy": {"mean": 50.0, "deviation": None}}


@pytest.mark.parametrize("count", [3, 200])
def test_page_shows_a_matrix_or_the_most_frequent_confusions(count: int, tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(count - 1)] + ["a|b"]
    labels = np.repeat(np.arange(count), 2)
    logits = np.eye(count)[np.roll(labels, 1)]
    report = {
        "mode": "frozen",
        "model": "M",
        "data": {"train": {"texts": 1000, "truncated": 0.25}},
        "saved_repeat": 0,
        "repeats": [{"development": None, "test": {"accuracy": 12.345}}],
        "mean": {},
        "detail": "test",
        "classes": score_classes(logits, labels, names, SINGLE),
        "confusion": confusion_matrix(logits, labels, names),
    }
    table = write_head_report(tmp_path, report)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    page = (tmp_path / "report.md").read_text()
    assert table in page
    assert "12.35" in table or "12.34" in table
    assert "25.0%" in page
    assert "a\\|b" in page
    confusions = page.partition("## Confusion (test)")[2].strip().splitlines()
    assert len(confusions) == 2 + min(count, 20)
    assert ("label \\ predicted" in confusions[0]) == (count == 3)
