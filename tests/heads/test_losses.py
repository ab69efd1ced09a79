"""Losses and class weights."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from asterisk.data.labels import MULTI, SINGLE
from asterisk.heads.losses import make_loss


def test_class_weights_make_all_classes_count_equally() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    weighted = make_loss(SINGLE, labels, is_weighted=True)
    parts = [weighted(logits[labels == own], labels[labels == own]) for own in (0, 1)]
    assert weighted(logits, labels).item() == pytest.approx(sum(parts).item() / 2)  # type: ignore[union-attr]
    assert make_loss(SINGLE, labels, is_weighted=False)(logits, labels).item() == pytest.approx(
        cross_entropy(logits, labels).item()
    )
    several = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weighted = make_loss(MULTI, several, is_weighted=True)
    # At probability one half, present and absent labels have equal weight.
    logits = torch.zeros(4, 2, requires_grad=True)
    weighted(logits, several).backward()
    assert logits.grad is not None
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-6)
