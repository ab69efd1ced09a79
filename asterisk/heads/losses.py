"""The loss of each problem type."""

from collections.abc import Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, pad

from asterisk.data.labels import REGRESSION, SINGLE

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(problem_type: str, labels: torch.Tensor, is_weighted: bool) -> Loss:
    """Return the loss function: the mean cross-entropy, binary cross-entropy or squared error of logits and labels.

    Args:
        problem_type: One of the types in [`asterisk.data.labels`]; it selects the loss.
        labels: The training labels, from [`asterisk.data.labels.label_array`].
        is_weighted: Whether to weight each class inversely to its frequency in the training labels.
    """
    if problem_type == REGRESSION:
        return mse_loss
    weights = _class_weights(problem_type, labels) if is_weighted else None

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # The last classes may be absent from the training labels.
        weight = None if weights is None else pad(weights, (0, logits.shape[1] - len(weights)), value=1.0).to(logits)
        if problem_type == SINGLE:
            return cross_entropy(logits, targets, weight)
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)

    return loss


def _class_weights(problem_type: str, labels: torch.Tensor) -> torch.Tensor:
    if problem_type == SINGLE:
        counts = torch.bincount(labels)
        return len(labels) / (len(counts) * counts.clamp(min=1))
    present = labels.sum(dim=0).clamp(min=1)
    return (len(labels) - present).clamp(min=1) / present
