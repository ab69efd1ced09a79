"""A token table reduced to the rows that the texts need."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asterisk.data.labels import SINGLE
from asterisk.heads import token_rows
from asterisk.heads.head_model import load_classifier
from tests.support.heads import NAMES, train


@pytest.mark.slow
def test_training_with_needed_table_rows_equals_training_with_all_rows(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_classifier(str(model), NAMES, SINGLE)[0].asterisk.embeddings.embed_tokens.weight
    narrow, (line,) = train(model, tmp_path / "narrow", mode="full", num_epochs=3)
    monkeypatch.setattr(token_rows, "distinct_tokens", lambda *parts: np.arange(len(before)))
    whole, (same,) = train(model, tmp_path / "whole", mode="full", num_epochs=3)
    assert line.losses == pytest.approx(same.losses, abs=1e-4)
    after = narrow.asterisk.embeddings.embed_tokens.weight
    torch.testing.assert_close(after, whole.asterisk.embeddings.embed_tokens.weight, rtol=1e-3, atol=1e-4)
    learned = (after != before).any(dim=1)
    assert 0 < learned.sum() < len(before)
