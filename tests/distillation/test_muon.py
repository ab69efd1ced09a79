"""Muon takes PyTorch's steps, in the precision that the processor multiplies fastest."""

import pytest
import torch

from asterisk.distillation import muon


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 16)])
@pytest.mark.parametrize("bfloat16", [True, False])
def test_steps_are_those_of_pytorch(shape: tuple[int, int], bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "computes_bfloat16", lambda: bfloat16)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (muon.Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, adjust_lr_fn="match_rms_adamw"))
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    # bfloat16 has three significant digits.
    torch.testing.assert_close(ours, theirs, atol=1e-6 if bfloat16 else 2e-2, rtol=0)
    torch.testing.assert_close(
        optimizers[0].state_dict()["state"][0], optimizers[1].state_dict()["state"][0], atol=0, rtol=0
    )
