"""The parameter groups of AdamW: weight decay for matrices only."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, **options: float
) -> list[dict[str, Any]]:
    """Return a torch optimizer's parameter groups: matrices, which decay, and biases and norms, which do not.

    Empty groups are left out. `options`, such as `lr`, apply to both groups.
    """
    parameters = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": weight_decay, **options},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0, **options},
    ]
    return [group for group in groups if group["params"]]
