"""Scores of classes, several labels and numbers."""

from typing import Any

import numpy as np
import pytest

from asterisk.data.labels import MULTI, REGRESSION, SINGLE
from asterisk.heads.scores import (
    Spread,
    confusion_matrix,
    predicted_labels,
    score,
    score_classes,
    score_labels,
    spread,
)

NAMES = ["cat", "dog", "a|b"]
# Predicted: cat, cat, dog, a|b.
LOGITS = np.array([[2.0, 1, 0], [2, 1, 0], [0, 3, 1], [0, 1, 2]])
LABELS = np.array([0, 1, 1, 1])


def test_each_class_has_its_precision_and_recall() -> None:
    cat, dog, other = score_classes(LOGITS.argmax(axis=1), LABELS, NAMES)
    assert (cat.precision, cat.recall, cat.texts) == (50, 100, 1)
    assert (dog.precision, dog.recall, dog.texts) == (100, pytest.approx(100 / 3), 3)
    assert (other.precision, other.recall, other.f1, other.texts) == (0, 0, 0, 0)
    assert score(LOGITS, LABELS, SINGLE)["accuracy"] == 50


def test_confusion_matrix_leaves_zeros_out() -> None:
    assert confusion_matrix(LOGITS.argmax(axis=1), LABELS, NAMES) == {
        "cat": {"cat": 1},
        "dog": {"cat": 1, "dog": 1, "a|b": 1},
    }
    many = np.arange(10_000)
    names = [str(number) for number in many]
    assert len(confusion_matrix(many[:100], many[:100], names)) == 100


def test_labels_with_a_probability_above_one_half_are_predicted() -> None:
    logits, labels = np.array([[1.0, -1], [1, 1]]), np.array([[1.0, 0], [1, 0]], np.float32)
    assert score(logits, labels, MULTI)["accuracy"] == 50
    first, second = score_classes(predicted_labels(logits, MULTI), labels, NAMES[:2])
    assert (first.precision, second.precision) == (100, 0)


def test_correlations_are_none_where_undefined() -> None:
    numbers = np.array([[1.0], [2], [3]])
    assert score(numbers, 2 * numbers + 1, REGRESSION) == pytest.approx({"pearson": 100, "spearman": 100})
    assert score(numbers[:1], numbers[:1], REGRESSION) == {"pearson": None, "spearman": None}


def test_repeats_have_a_mean_and_a_deviation() -> None:
    assert spread([{"accuracy": 50.0}, {"accuracy": 54.0}]) == {
        "accuracy": Spread(52.0, pytest.approx(8**0.5))  # type: ignore[arg-type]
    }
    assert spread([{"accuracy": 50.0}]) == {"accuracy": Spread(50.0, None)}


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI])
def test_scores_of_labels_equal_those_of_the_evaluate_metric(problem_type: str) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 4))
    logits[:, 3] = -9  # a class that is never predicted, and, below, one that has no text
    labels: Any = generator.integers(1, 4, 50)
    if problem_type == MULTI:
        labels = (generator.random((50, 4)) < 0.4).astype(np.float32)
    assert score_labels(predicted_labels(logits, problem_type), labels) == pytest.approx(
        score(logits, labels, problem_type)
    )
