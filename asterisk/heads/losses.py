"""The loss of each problem type."""

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, pad

from asterisk.data.labels import REGRESSION, SINGLE

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(problem_type: str, labels: torch.Tensor, is_weighted: bool) -> Loss:
    """The mean cross-entropy, binary cross-entropy or squared error of logits and labels.

    Args:
        problem_type: As in [`asterisk.data.labels`].
        labels: Training labels from [`asterisk.data.labels.label_array`].
        is_weighted: Weight classes inversely to their frequency, so that all classes count equally.
    """
    if problem_type == REGRESSION:
        return mse_loss
    if problem_type == SINGLE:
        counts = torch.bincount(labels)
        weights = len(labels) / (len(counts) * counts.clamp(min=1)) if is_weighted else None
        return partial(_weighted_cross_entropy, weights=weights)
    present = labels.sum(dim=0).clamp(min=1)
    weights = (len(labels) - present).clamp(min=1) / present if is_weighted else None
    return partial(_weighted_binary_cross_entropy, weights=weights)


def _weighted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is not None:  # the last classes can be absent from the training labels
        weights = pad(weights, (0, logits.shape[1] - len(weights)), value=1.0).to(logits)
    return cross_entropy(logits, labels, weight=weights)


def _weighted_binary_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    weights = None if weights is None else weights.to(logits.device)
    return binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)
