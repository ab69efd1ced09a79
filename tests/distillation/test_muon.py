"""Muon takes PyTorch's steps, in either precision."""

import pytest
import torch

from asterisk.distillation.muon import Muon


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 16)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_steps_are_those_of_pytorch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (
        Muon([ours], lr=0.1, dtype=dtype),
        torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    # bfloat16 has three significant digits.
    torch.testing.assert_close(ours, theirs, atol=1e-6 if dtype == torch.bfloat16 else 2e-2, rtol=0)
    torch.testing.assert_close(
        optimizers[0].state_dict()["state"][0], optimizers[1].state_dict()["state"][0], atol=0, rtol=0
    )
