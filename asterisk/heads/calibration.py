"""How far a classifier's probabilities can be relied on, and what is chosen by them on development texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asterisk.data.labels import MULTI
from asterisk.heads.scores import score_labels

BINS = 10
# Beyond these a softmax is flat, or gives nothing but zeros and ones.
TEMPERATURES = (0.05, 20.0)

# A threshold that fewer texts lie above says nothing.
FEWEST_ABOVE = 10

# A label is given from this probability on unless a better one is found.
HALF = 0.5


def probabilities(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Softmax of (texts, classes) logits, or their sigmoid where a text may have several labels; float64."""
    logits = logits.astype(np.float64)
    if problem_type == MULTI:
        return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, problem_type: str) -> float:
    """What logits have to be divided by for the least cross-entropy (Guo et al. 2017, arXiv:1706.04599).

    With few texts that may all be right any confidence would do, so the targets are smoothed as Platt's (1999, section
    2.2): of n texts, the label has (n + 1) / (n + 2), and the rest is spread over the other classes.

    Args:
        logits: (texts, classes).
        labels: As [`asterisk.data.labels.label_array`] gives them.
        problem_type: As there.

    Returns:
        It, within `TEMPERATURES`, to a thousandth of itself.
    """
    count, classes = logits.shape
    from scipy.optimize import minimize_scalar  # takes a moment to import

    rest = 1 / (count + 2)
    if problem_type == MULTI:
        targets = np.where(labels > HALF, 1 - rest, rest)
    else:
        targets = np.full((count, classes), rest / max(1, classes - 1))
        targets[np.arange(count), labels] = 1 - rest
    # The loss is convex in the temperature's inverse, so that it has one minimum.
    found = minimize_scalar(
        lambda power: _cross_entropy(logits / np.exp(power), targets, problem_type),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(found.x))


def _cross_entropy(logits: np.ndarray, targets: np.ndarray, problem_type: str) -> float:
    if problem_type == MULTI:
        return float((np.logaddexp(0, logits) - targets * logits).mean())
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - (targets * shifted).sum(axis=1)).mean())


@dataclass
class Reliability:
    """Confidence and accuracy in bins of equal width, those without a decision left out; shares from 0 to 1.

    `error` is the expected calibration error: the mean of their difference, weighed by `counts`.
    """

    error: float
    confidence: list[float]
    accuracy: list[float]
    counts: list[int]


def reliability(shares: np.ndarray, labels: np.ndarray, problem_type: str) -> Reliability:
    """How often the most probable label is right, by its probability; or how often each label is there, by its own.

    Args:
        shares: Probabilities (texts, classes).
        labels: As [`asterisk.data.labels.label_array`] gives them.
        problem_type: As there.
    """
    if problem_type == MULTI:
        confidence, right = shares.ravel(), labels.ravel() > HALF
    else:
        confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = Reliability(0.0, [], [], [])
    for own in (number == index for index in range(BINS)):
        if own.any():
            found.confidence.append(float(confidence[own].mean()))
            found.accuracy.append(float(right[own].mean()))
            found.counts.append(int(own.sum()))
    gaps = np.abs(np.subtract(found.confidence, found.accuracy))
    found.error = float(np.average(gaps, weights=found.counts))
    return found


def label_thresholds(shares: np.ndarray, labels: np.ndarray) -> list[float]:
    """Of each class the probability from which on it is given, for the highest F1; a half if it has no text.

    Args:
        shares: Probabilities (texts, classes).
        labels: Zeros and ones (texts, classes).
    """
    return [_best_threshold(shares[:, index], labels[:, index] > HALF) for index in range(shares.shape[1])]


def _best_threshold(shares: np.ndarray, right: np.ndarray) -> float:
    """Half way between two texts, since others will lie between them too."""
    if not right.any() or right.all():
        return HALF
    order = np.argsort(-shares, kind="stable")
    found = np.cumsum(right[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + right.sum())
    ranked = shares[order]
    # A threshold cannot come between texts of one probability.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(np.argmax(f1))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


@dataclass
class NoneThreshold:
    """The probability below which a text's most probable label is not given, None if none would do, and why."""

    threshold: float | None
    criterion: str


def none_threshold_by_texts(
    shares: np.ndarray, labels: np.ndarray, none_shares: np.ndarray, classes: int
) -> NoneThreshold:
    """The threshold of the highest macro-F1 over the classes and "none of these".

    Args:
        shares: Probabilities (texts, classes) of texts that have a label.
        labels: Their class numbers.
        none_shares: Probabilities (texts, classes) of texts that have none of them.
        classes: How many there are.
    """
    confidence = np.concatenate([shares.max(axis=1), none_shares.max(axis=1)])
    predicted = np.concatenate([shares.argmax(axis=1), none_shares.argmax(axis=1)])
    truth = np.concatenate([labels, np.full(len(none_shares), classes)])
    candidates = np.unique(np.round(np.quantile(confidence, np.linspace(0, 1, 201)), 4))
    scores = [_macro_f1(np.where(confidence < each, classes, predicted), truth) for each in candidates]
    best = int(np.argmax(scores))
    return NoneThreshold(float(candidates[best]), f"highest macro-F1 on development, {scores[best]:.2f}")


def _macro_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    return score_labels(predicted, truth)["macro_f1"] or 0.0


def none_threshold_by_accuracy(shares: np.ndarray, labels: np.ndarray, target: float) -> NoneThreshold:
    """The lowest threshold such that labels given from it on are right at a share of `target`, at least.

    Args:
        shares: Probabilities (texts, classes).
        labels: Class numbers.
        target: From 0 to 1.
    """
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ranked = confidence[order]
    # Texts of one probability are given a label together, or not at all.
    reaches = np.flatnonzero((accuracy >= target) & np.append(ranked[:-1] != ranked[1:], True))
    if not len(reaches) or reaches[-1] + 1 < FEWEST_ABOVE:
        reason = f"none leaves {FEWEST_ABOVE} or more development texts above it with {target:.0%} accuracy"
        return NoneThreshold(None, reason)
    last = int(reaches[-1])
    if last + 1 == len(order):
        return NoneThreshold(None, f"on development {accuracy[-1]:.1%} are right without one")
    criterion = f"lowest with {target:.0%} accuracy on development, where {(last + 1) / len(order):.1%} lie above it"
    return NoneThreshold(float(ranked[last]), criterion)


def measure_none(
    shares: np.ndarray, labels: np.ndarray, none_shares: np.ndarray | None, threshold: float
) -> dict[str, Any]:
    """What a threshold does on some texts: the share that gets a label, its accuracy × 100, and, if there are texts
    that have none, macro-F1 × 100 with "none" as a class, and how many of those get none, × 100.

    Args:
        shares: Probabilities (texts, classes) of texts that have a label.
        labels: Their class numbers.
        none_shares: Probabilities (texts, classes) of texts that have none of them, if there are any.
        threshold: The probability below which no label is given.
    """
    given = shares.max(axis=1) >= threshold
    right = shares.argmax(axis=1) == labels
    found: dict[str, Any] = {
        "share": 100 * float(given.mean()),
        "accuracy": 100 * float(right[given].mean()) if given.any() else None,
    }
    if none_shares is not None and len(none_shares):
        classes = shares.shape[1]
        truth = np.concatenate([labels, np.full(len(none_shares), classes)])
        every = np.concatenate([shares, none_shares])
        predicted = np.where(every.max(axis=1) < threshold, classes, every.argmax(axis=1))
        found["macro_f1"] = _macro_f1(predicted, truth)
        found["none_recall"] = 100 * float((none_shares.max(axis=1) < threshold).mean())
    return found


def given_labels(shares: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Which labels each text is given: zeros and ones (texts, classes), int64."""
    return (shares >= np.array(thresholds)).astype(np.int64)
