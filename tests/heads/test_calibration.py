"""Probabilities mean what they say after scaling, and thresholds are those that development texts speak for."""

import numpy as np
import pytest

from asterisk.data.labels import MULTI, SINGLE
from asterisk.heads.calibration import (
    fit_temperature,
    given_labels,
    label_thresholds,
    measure_none,
    none_threshold_by_accuracy,
    none_threshold_by_texts,
    probabilities,
    reliability,
)


def drawn(texts: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `scale` times too sure of themselves, and labels drawn by what they should be."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(texts, 3))
    labels = np.array([generator.choice(3, p=own) for own in probabilities(logits, SINGLE)])
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_temperature_undoes_wrong_confidence(scale: float) -> None:
    logits, labels = drawn(4000, scale)
    temperature = fit_temperature(logits, labels, SINGLE)
    assert temperature == pytest.approx(scale, rel=0.1)
    before, after = (
        reliability(probabilities(logits / each, SINGLE), labels, SINGLE).error for each in (1, temperature)
    )
    assert after < 0.03 < before


def test_temperature_of_several_labels_is_fitted_to_each() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(4000, 2))
    labels = (generator.random((4000, 2)) < probabilities(logits, MULTI)).astype(np.float32)
    assert fit_temperature(2 * logits, labels, MULTI) == pytest.approx(2, rel=0.1)


def test_a_few_texts_that_are_all_right_do_not_make_sure_of_everything() -> None:
    logits, labels = np.eye(2)[[0, 1] * 5] * 4, np.array([0, 1] * 5)
    assert probabilities(logits / fit_temperature(logits, labels, SINGLE), SINGLE).max() < 0.95


def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy() -> None:
    shares = np.array([[0.95, 0.05]] * 4 + [[0.65, 0.35]] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    found = reliability(shares, labels, SINGLE)
    assert found.confidence == pytest.approx([0.65, 0.95])
    assert (found.accuracy, found.counts) == ([0.5, 0.75], [4, 4])
    assert found.error == pytest.approx((0.15 + 0.2) / 2)


def test_label_thresholds_give_the_highest_f1() -> None:
    shares = np.array([[0.9, 0.1, 0.5], [0.4, 0.2, 0.5], [0.3, 0.3, 0.5], [0.1, 0.9, 0.5]])
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    thresholds = label_thresholds(shares, labels)
    assert thresholds == pytest.approx([0.35, 0.6, 0.5])
    assert (given_labels(shares, thresholds)[:, :2] == labels[:, :2]).all()


def test_none_threshold_reaches_the_accuracy_with_the_most_texts_or_is_not_chosen() -> None:
    top = np.linspace(0.99, 0.60, 40)
    shares = np.stack([top, 1 - top], axis=1)
    labels = np.zeros(40, int)
    labels[20::2] = 1  # of the less sure half every other is wrong
    found = none_threshold_by_accuracy(shares, labels, 0.95)
    assert found.threshold is not None
    kept = measure_none(shares, labels, None, found.threshold)
    assert kept["accuracy"] >= 95
    lower = measure_none(shares, labels, None, found.threshold - 0.011)
    assert lower["accuracy"] < 95
    assert none_threshold_by_accuracy(shares, np.ones(40, int), 0.95).threshold is None
    without = none_threshold_by_accuracy(shares, np.zeros(40, int), 0.95)
    assert (without.threshold, without.criterion) == (None, "on development 100.0% are right without one")


def test_none_threshold_tells_foreign_texts_apart() -> None:
    sure, unsure = np.array([[0.9, 0.1], [0.2, 0.8]] * 10), np.array([[0.55, 0.45]] * 10)
    labels = np.array([0, 1] * 10)
    found = none_threshold_by_texts(sure, labels, unsure, 2)
    assert found.threshold is not None
    assert 0.55 < found.threshold <= 0.8
    assert measure_none(sure, labels, unsure, found.threshold) == {
        "share": 100,
        "accuracy": 100,
        "macro_f1": 100,
        "none_recall": 100,
    }
