"""Contrast pulls texts of one label together, and nothing else takes part."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asterisk.data.labels import SINGLE
from asterisk.heads.arguments import HeadArguments, resolve_arguments
from asterisk.heads.contrastive import contrast_labels, label_pairs
from asterisk.heads.head_model import load_classifier
from asterisk.heads.losses import supervised_contrastive_loss
from asterisk.heads.token_rows import TokenizedRows
from tests.support.labelled import topic_rows, write_tiny_asterisk


def test_loss_is_that_of_the_paper_and_texts_alone_are_only_others() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    vectors.requires_grad_()
    loss = supervised_contrastive_loss(vectors, torch.tensor([0, 0, 1, 2]), 0.5)
    cosines = (vectors @ vectors.T / 0.5).exp()
    parts = [-torch.log(cosines[a, b] / (cosines[a].sum() - cosines[a, a])) for a, b in ((0, 1), (1, 0))]
    torch.testing.assert_close(loss, sum(parts) / 2)
    loss.backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


def test_each_text_is_in_one_pair_of_its_label() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    pairs = label_pairs(labels, np.random.default_rng(0))
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    assert len(pairs) == 3
    assert len(set(pairs.ravel().tolist())) == 6


def test_labels_lie_apart_afterwards(tmp_path: Path) -> None:
    model, tokenizer, _ = load_classifier(str(write_tiny_asterisk(tmp_path / "model")), ["food", "sport"], SINGLE)
    rows = topic_rows(32)
    labels = np.array([topic == "sport" for _, topic in rows])
    train = TokenizedRows(tokenizer([text for text, _ in rows])["input_ids"], torch.tensor(labels, dtype=torch.long))

    def gap() -> float:
        vectors = model.asterisk.encode([text for text, _ in rows], tokenizer=tokenizer)
        cosines = vectors @ vectors.T
        return float(cosines[labels][:, labels].mean() - cosines[labels][:, ~labels].mean())

    before, head = gap(), model.classifier.dense.weight.clone()
    arguments = resolve_arguments(HeadArguments(mode="full", contrastive_epochs=40, learning_rate=0.003))
    contrast_labels(model, train, arguments, seed=0)
    assert gap() > before + 0.2
    assert torch.equal(model.classifier.dense.weight, head)
    assert before == pytest.approx(0, abs=0.3)
