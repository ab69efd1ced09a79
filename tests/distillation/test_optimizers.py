"""Every weight has one optimizer: Muon the layers' matrices, SparseAdam the token table, AdamW the rest."""

from pathlib import Path

import pytest
import torch

from asterisk.distillation.batching import batches_from
from asterisk.distillation.muon import Muon
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.trainings import start


def test_step_moves_only_the_rows_of_the_table_that_were_read(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, max_steps=1, warmup_ratio=0.0, weight_decay=0.1)
    table = distillation.student.get_input_embeddings().weight
    before = table.detach().clone()
    distillation.train()
    lengths, seed = distillation.tokens.lengths, distillation.arguments.seed
    rows = next(batches_from(0, lengths, distillation.train_rows, distillation.batch_size, seed))
    read = set(distillation.tokens.padded(rows)[0].ravel().tolist())
    moved = set(torch.nonzero((table != before).any(dim=1)).flatten().tolist())
    assert moved
    assert moved <= read
    # Padding is read as well, but nothing depends on it.
    assert read - moved <= {0}


def test_muon_trains_the_matrices_of_the_layers_and_nothing_else(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, learning_rate=1e-3, muon_factor=3.0, warmup_ratio=0.0)
    muon = next(each.optimizer for each in distillation.optimizers if isinstance(each.optimizer, Muon))
    trained = [weight for group in muon.param_groups for weight in group["params"]]
    matrices = [weight for weight in distillation.student.layers.parameters() if weight.dim() == 2]
    assert [id(weight) for weight in trained] == [id(weight) for weight in matrices]
    assert [group["lr"] for group in muon.param_groups] == [pytest.approx(3e-3)]
    every = [weight for each in distillation.optimizers for group in each.param_groups for weight in group["params"]]
    assert sorted(map(id, every)) == sorted(map(id, distillation.student.parameters()))

    without = start(store, teacher, tmp_path, muon_factor=0.0)
    assert not any(isinstance(each.optimizer, Muon) for each in without.optimizers)
