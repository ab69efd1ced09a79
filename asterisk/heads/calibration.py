"""Calibration of probabilities, its reliability, and thresholds chosen on development texts.

`logits` and `probabilities` are (texts, classes); `labels` come from [`asterisk.data.labels.label_array`], and
`problem_type` is one of the types in its module. `none_probabilities` are those of texts without a true label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asterisk.data.labels import MULTI
from asterisk.evaluation.metrics.functions import accuracy_and_macro_f1

BINS = 10
# Outside this range, a softmax is flat, or returns only zeros and ones.
TEMPERATURES = (0.05, 20.0)

# A threshold with fewer development texts above it is not reliable.
MIN_TEXTS_ABOVE = 10

# The threshold of a label for which none is chosen.
HALF = 0.5


def class_probabilities(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Return the softmax of the logits or, for several labels per text, their sigmoid: (texts, classes), float64."""
    from scipy.special import expit, softmax

    logits = logits.astype(np.float64)
    return expit(logits) if problem_type == MULTI else softmax(logits, axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> float:
    """Find the divisor of the logits with the lowest cross-entropy (Guo et al. 2017, arXiv:1706.04599).

    The targets are smoothed, because a few texts that are all classified correctly would allow any confidence (Platt
    1999, section 2.2). With n texts, the true label gets (n + 1) / (n + 2), and the other classes share the rest.

    Returns:
        The temperature, within `TEMPERATURES`, to a precision of 0.1 %.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    count, classes = logits.shape
    rest = 1 / (count + 2)
    if problem_type == MULTI:
        targets = np.where(labels > HALF, 1 - rest, rest)
    else:
        targets = np.full((count, classes), rest / max(1, classes - 1))
        targets[np.arange(count), labels] = 1 - rest
    # The loss is convex in the inverse of the temperature, so it has one minimum.
    optimum = minimize_scalar(
        lambda power: _cross_entropy(logits / np.exp(power), targets, problem_type),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(optimum.x))


def _cross_entropy(logits: np.ndarray, targets: np.ndarray, problem_type: str) -> float:
    from scipy.special import log_softmax

    if problem_type == MULTI:
        return float((np.logaddexp(0, logits) - targets * logits).mean())
    return float(-(targets * log_softmax(logits, axis=1)).sum(axis=1).mean())


@dataclass
class Reliability:
    """Mean confidence, accuracy (both from 0 to 1) and number of decisions of each non-empty bin.

    `error` is the expected calibration error: the mean gap between confidence and accuracy, weighted by `counts`.
    """

    error: float
    confidence: list[float]
    accuracy: list[float]
    counts: list[int]


def reliability(probabilities: np.ndarray, labels: np.ndarray, problem_type: str) -> Reliability:
    """Compare confidence with accuracy in `BINS` bins of equal width.

    A decision is the most probable label of a text; with several labels per text, it is each label of each text.
    """
    if problem_type == MULTI:
        confidence, right = probabilities.ravel(), labels.ravel() > HALF
    else:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [number == index for index in np.unique(number)]
    means, accuracy = ([float(values[rows].mean()) for rows in bins] for values in (confidence, right))
    counts = [int(rows.sum()) for rows in bins]
    gaps = np.abs(np.subtract(means, accuracy))
    return Reliability(float(np.average(gaps, weights=counts)), means, accuracy, counts)


def label_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Return the threshold with the highest F1 of each class; one half if all texts or no texts have the class."""
    return [_best_threshold(column, right > HALF) for column, right in zip(probabilities.T, labels.T, strict=True)]


def _best_threshold(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Return the threshold with the highest F1, midway between the probabilities of two texts."""
    if not right.any() or right.all():
        return HALF
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + right.sum())
    # No threshold separates texts of equal probability.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(np.argmax(f1))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


class NoneThreshold(NamedTuple):
    """The probability below which no label should be given, if any, and how it was chosen."""

    threshold: float | None
    criterion: str


def none_threshold_by_texts(
    probabilities: np.ndarray, labels: np.ndarray, none_probabilities: np.ndarray
) -> NoneThreshold:
    """Choose the threshold with the highest macro-F1 over the classes and "none of these"."""
    confidence = np.concatenate([probabilities, none_probabilities]).max(axis=1)
    candidates = np.unique(np.round(np.quantile(confidence, np.linspace(0, 1, 201)), 4))
    scores = [_none_macro_f1(probabilities, labels, none_probabilities, threshold) for threshold in candidates]
    best = int(np.argmax(scores))
    return NoneThreshold(float(candidates[best]), f"highest macro-F1 on development, {scores[best]:.2f}")


def _none_macro_f1(
    probabilities: np.ndarray, labels: np.ndarray, none_probabilities: np.ndarray, threshold: float
) -> float:
    """Return the macro-F1 × 100 with "none" as an additional last class."""
    texts = np.concatenate([probabilities, none_probabilities])
    none = texts.shape[1]
    truth = np.append(labels, np.full(len(none_probabilities), none))
    predicted = np.where(texts.max(axis=1) < threshold, none, texts.argmax(axis=1))
    return 100 * accuracy_and_macro_f1(predicted, truth)["macro_f1"]


def none_threshold_by_accuracy(probabilities: np.ndarray, labels: np.ndarray, target: float) -> NoneThreshold:
    """Choose the lowest threshold above which the accuracy (0 to 1) is at least `target`."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ranked = confidence[order]
    # No threshold separates texts of equal probability.
    reaches = np.flatnonzero((accuracy >= target) & np.append(ranked[:-1] != ranked[1:], True))
    if not len(reaches) or reaches[-1] + 1 < MIN_TEXTS_ABOVE:
        return NoneThreshold(
            None, f"no threshold has at least {MIN_TEXTS_ABOVE} development texts above it at {target:.0%} accuracy"
        )
    last = int(reaches[-1])
    if last + 1 == len(order):
        return NoneThreshold(None, f"without one, {accuracy[-1]:.1%} of the development texts are right")
    share = (last + 1) / len(order)
    criterion = f"lowest with {target:.0%} accuracy on development, where {share:.1%} of the texts are above it"
    return NoneThreshold(float(ranked[last]), criterion)


@dataclass
class NoneScores:
    """The effect of the "none of these" threshold on one split, in percent.

    `share` is the share of the labelled texts that get a label, and `accuracy` the accuracy on these, if any do. The
    other scores are None if every text has a true label: `macro_f1` counts "none" as a class, and `none_recall` is
    the share of the texts without a true label that get none.
    """

    share: float
    accuracy: float | None
    macro_f1: float | None = None
    none_recall: float | None = None
    none_texts: int = 0


def measure_none(
    probabilities: np.ndarray, labels: np.ndarray, none_probabilities: np.ndarray | None, threshold: float
) -> NoneScores:
    """Measure the effect of a "none of these" threshold; `none_probabilities` is None without such texts."""
    given = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1) == labels
    scores = NoneScores(100 * float(given.mean()), 100 * float(right[given].mean()) if given.any() else None)
    if none_probabilities is not None:
        scores.macro_f1 = _none_macro_f1(probabilities, labels, none_probabilities, threshold)
        scores.none_recall = 100 * float((none_probabilities.max(axis=1) < threshold).mean())
        scores.none_texts = len(none_probabilities)
    return scores


def labels_above(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return which labels reach their thresholds in each text: zeros and ones (texts, classes), int64."""
    return (probabilities >= np.array(thresholds)).astype(np.int64)
