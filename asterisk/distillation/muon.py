"""Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon): momentum with orthogonalised updates."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

MOMENTUM = 0.95
WEIGHT_DECAY = 0.1
# Newton-Schulz: the number of iterations and the coefficients of the quintic polynomial (Jordan 2024).
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` with a choice of precision for the matrix products.

    PyTorch's class always multiplies in bfloat16. A processor without bfloat16 instructions emulates them about forty
    times slower than float32. The updates are scaled to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982).
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float, dtype: torch.dtype = torch.float32):
        """Create the optimizer.

        Args:
            params: Matrices; other weights need another optimizer.
            lr: The learning rate, on AdamW's scale.
            dtype: The precision of the matrix products: float32 or bfloat16.
        """
        super().__init__(params, {"lr": lr})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every matrix that has a gradient."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
                update = orthogonalise(weight.grad.lerp(momentum, MOMENTUM), self.dtype)
                weight.mul_(1 - group["lr"] * WEIGHT_DECAY)
                weight.add_(update, alpha=-0.2 * group["lr"] * max(weight.shape) ** 0.5)
        return loss


def orthogonalise(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Move all singular values of a matrix close to 1 by Newton-Schulz iterations; shape and dtype stay the same."""
    a, b, c = COEFFICIENTS
    result = matrix.to(dtype)
    is_tall = matrix.shape[0] > matrix.shape[1]
    if is_tall:
        result = result.T
    result = result / result.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return (result.T if is_tall else result).to(matrix.dtype)
