"""Every part of the loss trains the student, and a long batch has the same loss in several passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asterisk.distillation import batch_loss
from asterisk.distillation.curves import read_curves
from asterisk.distillation.loop import Distillation
from asterisk.distillation.pairs import Pairs, ScoredPairs
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.trainings import start

ROWS = np.arange(200)


def cosines(distillation: Distillation, teacher: SentenceTransformerTeacher) -> np.ndarray:
    """The student's cosines between rows 0 to 99 of the store and rows 100 to 199."""
    assert distillation.store is not None
    texts = distillation.store.texts(ROWS)
    embeddings = distillation.student.encode(texts, tokenizer=student_tokenizer(teacher, 64))
    return (embeddings[:100] * embeddings[100:]).sum(axis=1)


def test_long_batches_pass_in_parts_with_the_same_losses(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, passes = {}, {}
    for tokens in (10**9, 400):
        monkeypatch.setattr(batch_loss, "TOKENS_PER_PASS", tokens)
        distillation = start(store, teacher, tmp_path / str(tokens), dropout=0.0, max_steps=5, eval_steps=1)
        modes: list[Any] = []
        distillation.student.register_forward_hook(lambda module, *_, modes=modes: modes.append(module.training))
        distillation.train()
        passes[tokens] = sum(modes)  # measuring runs in evaluation mode
        losses[tokens] = [point["loss"] for point in read_curves(tmp_path / str(tokens) / "curves.jsonl")]
    assert passes[10**9] == 5 < passes[400]
    assert losses[400] == pytest.approx(losses[10**9], rel=1e-4)


@pytest.mark.slow
def test_labelled_pairs_come_together(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    pairs = Pairs(ROWS[:100], ROWS[100:])
    alone = start(store, teacher, tmp_path / "alone", num_epochs=4)
    alone.train()
    paired = start(store, teacher, tmp_path / "paired", pairs=pairs, num_epochs=4, guided_negatives=False)
    paired.train()
    assert cosines(paired, teacher).mean() > cosines(alone, teacher).mean() + 0.2


@pytest.mark.slow
def test_scored_pairs_take_the_order_of_their_scores(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    scores = np.random.default_rng(0).random(100).astype(np.float32)
    scored = ScoredPairs(ROWS[:100], ROWS[100:], scores, np.zeros(100, dtype=np.int64))
    distillation = start(store, teacher, tmp_path / "scored", scored_pairs=scored, num_epochs=4)
    before = np.corrcoef(cosines(distillation, teacher), scores)[0, 1]
    distillation.train()
    assert np.corrcoef(cosines(distillation, teacher), scores)[0, 1] > before + 0.3
