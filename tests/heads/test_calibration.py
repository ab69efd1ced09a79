"""Scaled probabilities are calibrated, and thresholds are the best ones on development texts."""

import numpy as np
import pytest

from asterisk.data.labels import MULTI, SINGLE
from asterisk.heads.calibration import (
    NoneScores,
    class_probabilities,
    fit_temperature,
    label_thresholds,
    labels_above,
    measure_none,
    none_threshold_by_accuracy,
    none_threshold_by_texts,
    reliability,
)


def miscalibrated(texts: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `scale` times too large, and labels drawn from the right probabilities."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(texts, 3))
    labels = np.array([generator.choice(3, p=probabilities) for probabilities in class_probabilities(logits, SINGLE)])
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_temperature_undoes_wrong_confidence(scale: float) -> None:
    logits, labels = miscalibrated(4000, scale)
    temperature = fit_temperature(logits, labels, SINGLE)
    assert temperature == pytest.approx(scale, rel=0.1)
    before, after = (
        reliability(class_probabilities(logits / each, SINGLE), labels, SINGLE).error for each in (1, temperature)
    )
    assert after < 0.03 < before


def test_temperature_is_fitted_for_several_labels_per_text() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(4000, 2))
    labels = (generator.random((4000, 2)) < class_probabilities(logits, MULTI)).astype(np.float32)
    assert fit_temperature(2 * logits, labels, MULTI) == pytest.approx(2, rel=0.1)


def test_a_few_correct_texts_do_not_give_certainty() -> None:
    logits, labels = np.eye(2)[[0, 1] * 5] * 4, np.array([0, 1] * 5)
    assert class_probabilities(logits / fit_temperature(logits, labels, SINGLE), SINGLE).max() < 0.95


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.95, 0.05]] * 4 + [[0.65, 0.35]] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    found = reliability(probabilities, labels, SINGLE)
    assert found.confidence == pytest.approx([0.65, 0.95])
    assert (found.accuracy, found.counts) == ([0.5, 0.75], [4, 4])
    assert found.error == pytest.approx((0.15 + 0.2) / 2)


def test_label_thresholds_have_the_highest_f1() -> None:
    probabilities = np.array([[0.9, 0.1, 0.5], [0.4, 0.2, 0.5], [0.3, 0.3, 0.5], [0.1, 0.9, 0.5]])
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    thresholds = label_thresholds(probabilities, labels)
    assert thresholds == pytest.approx([0.35, 0.6, 0.5])
    assert (labels_above(probabilities, thresholds)[:, :2] == labels[:, :2]).all()


def test_none_threshold_is_the_lowest_that_reaches_the_accuracy_or_none() -> None:
    top = np.linspace(0.99, 0.60, 40)
    probabilities = np.stack([top, 1 - top], axis=1)
    labels = np.zeros(40, int)
    labels[20::2] = 1  # every second text of the less confident half is wrong
    found = none_threshold_by_accuracy(probabilities, labels, 0.95)
    assert found.threshold is not None
    kept = measure_none(probabilities, labels, None, found.threshold)
    assert (kept.accuracy or 0) >= 95
    lower = measure_none(probabilities, labels, None, found.threshold - 0.011)
    assert (lower.accuracy or 100) < 95
    assert none_threshold_by_accuracy(probabilities, np.ones(40, int), 0.95).threshold is None
    without = none_threshold_by_accuracy(probabilities, np.zeros(40, int), 0.95)
    assert (without.threshold, without.criterion) == (None, "without one, 100.0% of the development texts are right")


def test_none_threshold_separates_texts_of_no_label() -> None:
    confident, uncertain = np.array([[0.9, 0.1], [0.2, 0.8]] * 10), np.array([[0.55, 0.45]] * 10)
    labels = np.array([0, 1] * 10)
    found = none_threshold_by_texts(confident, labels, uncertain)
    assert found.threshold is not None
    assert 0.55 < found.threshold <= 0.8
    assert measure_none(confident, labels, uncertain, found.threshold) == NoneScores(100, 100, 100, 100, 10)
