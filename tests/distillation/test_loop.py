"""The loop trains: by every objective, reproducibly, and over several processes."""

import copy
import json
import math
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch

from asterisk.core.errors import UserError
from asterisk.distillation.curves import plot_curves, read_curves
from asterisk.distillation.label_tasks import LabelledCorpus, LabelTask
from asterisk.distillation.loop import Distillation
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.loss_curve import CURVE, loss_curve
from tests.support.ranks import run_ranks
from tests.support.trainings import start, tiny_student, train_without_dropout


def weights(distillation: Distillation) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in distillation.student.state_dict().items()}


@pytest.mark.slow
def test_two_runs_of_one_seed_are_equal_bit_for_bit(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    first, again, other = (
        start(store, teacher, tmp_path / name, seed=seed, max_steps=20)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for distillation in (first, again, other):
        torch.manual_seed(1)  # for dropout
        distillation.train()
    assert all(torch.equal(weight, weights(again)[name]) for name, weight in weights(first).items())
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(first).items())


@pytest.mark.slow
def test_training_reproduces_the_reference_loss_curve(tmp_path: Path) -> None:
    np.testing.assert_allclose(loss_curve(tmp_path), json.loads(CURVE.read_text()), rtol=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        pytest.param({"cosine_weight": 0.0, "mse_weight": 32.0}, marks=pytest.mark.slow),
        pytest.param({"cosine_weight": 0.7, "mse_weight": 0.3}, marks=pytest.mark.slow),
        pytest.param({"similarity_weight": 1.0}, marks=pytest.mark.slow),
        pytest.param({"relation_weight": 0.5, "matryoshka_dims": [8, 16]}, marks=pytest.mark.slow),
        pytest.param({"average_checkpoints": 3, "checkpoint_steps": 10}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_objective_brings_the_student_closer_to_its_teacher(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, fields: dict
) -> None:
    distillation = start(store, teacher, tmp_path, num_epochs=3, learning_rate=1e-2, **fields)
    before = distillation.agreement()
    assert distillation.train()
    assert distillation.agreement() > before + 0.2
    curves = read_curves(tmp_path / "curves.jsonl")
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert not distillation.train()
    plot_curves(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_every_exit_comes_closer_to_the_teacher(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(
        store,
        teacher,
        tmp_path,
        student=tiny_student(teacher, projection_dim=None, exit_layers=[1, 0]),
        new_exits=True,
        num_epochs=3,
        learning_rate=1e-2,
        matryoshka_dims=[16],
        exit_weights=[0.6, 0.3],
    )
    rows = distillation.heldout_rows

    def cosines() -> list[float]:
        distillation.student.eval()
        _, target = distillation.loss.teacher_vectors(rows)
        with torch.no_grad():
            return [
                torch.nn.functional.cosine_similarity(part, target).mean().item()
                for part in distillation.loss.embed(rows)
            ]

    before = cosines()
    distillation.train()
    after = cosines()
    assert len(after) == 3
    assert before[2] > 0.1  # a regression from random token vectors
    assert after[0] > before[0] + 0.2
    assert after[1] > before[1] + 0.2
    assert after[2] > before[2]


def test_labels_pull_their_groups_together(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    texts = store.texts(np.arange(64))
    groups = np.eye(2, dtype=bool)[np.arange(64) % 2]
    task = LabelTask(1.0, 0.0, np.ones(64, dtype=bool), groups, np.full(64, np.nan, dtype=np.float32))
    labelled = LabelledCorpus(texts, [task], np.full(64, -1), [])
    labelled.tokenize(student_tokenizer(teacher, 64), 64)
    distillation = start(store, teacher, tmp_path, labelled=labelled, num_epochs=3, learning_rate=1e-2)

    def margin() -> float:
        vectors = torch.tensor(distillation.student.eval().encode(texts, tokenizer=student_tokenizer(teacher, 64)))
        cosines = vectors @ vectors.T
        same = torch.tensor(groups[:, :1] == groups[:, 0])
        return (cosines[same].mean() - cosines[~same].mean()).item()

    before = margin()
    distillation.train()
    assert margin() > before + 0.1


@pytest.mark.slow
def test_numbers_order_the_texts(store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    texts = store.texts(np.arange(64))
    numbers = (np.arange(64) % 2).astype(np.float32)
    task = LabelTask(1.0, 0.0, np.zeros(64, dtype=bool), np.zeros((64, 0), dtype=bool), numbers)
    labelled = LabelledCorpus(texts, [task], np.full(64, -1), [])
    tokenizer = student_tokenizer(teacher, 64)
    labelled.tokenize(tokenizer, 64)
    distillation = start(
        store, teacher, tmp_path, labelled=labelled, label_batch_size=64, num_epochs=3, learning_rate=1e-2
    )

    def margin() -> float:
        vectors = distillation.student.eval().encode(texts, tokenizer=tokenizer)
        same = numbers[:, None] == numbers
        return float((vectors @ vectors.T)[same].mean() - (vectors @ vectors.T)[~same].mean())

    before = margin()
    distillation.train()
    assert margin() > before + 0.05


def test_contrast_trains_without_a_teacher(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, with_teacher=False, simcse_weight=1.0, num_epochs=3)
    distillation.train()
    curves = read_curves(tmp_path / "curves.jsonl")
    assert curves[-1]["loss"] < 0.7 * curves[0]["loss"]
    assert curves[-1]["scores"] == {}


@pytest.mark.slow
def test_trained_student_keeps_the_meaning_of_its_dimensions(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    trained = start(store, teacher, tmp_path / "first", num_epochs=4)
    trained.train()
    # The same directions in another order, as a projection fitted on other text may have them.
    with torch.no_grad():
        for weight in (trained.student.projection.weight, trained.student.projection.bias):
            weight.copy_(weight.flip(0))
    further = {
        name: start(
            store, teacher, tmp_path / name, student=copy.deepcopy(trained.student), is_trained=name == "kept"
        ).agreement()
        for name in ("kept", "fitted")
    }
    assert further["kept"] > trained.agreement() + 0.2 > further["fitted"]


def test_first_development_score_selects_the_best_student(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path)
    given = iter([0.0, 0.1, 0.5, 0.3, 0.2, 0.4])
    distillation.evaluate = lambda student: {"development": next(given)}
    best: list[int] = []
    distillation.train(on_best=lambda student: best.append(distillation.progress.step))
    assert best == [1, 10, 20]
    assert [point["scores"]["development"] for point in read_curves(tmp_path / "curves.jsonl")][:3] == [0.0, 0.1, 0.5]


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, checkpoint_steps=10)

    def break_weights(step: int) -> None:
        if step == 17:
            with torch.no_grad():
                distillation.student.norm.weight[0] = math.nan

    with pytest.raises(UserError, match=r"not finite at step 17 \(batch 17 of epoch 0: rows "):
        distillation.train(on_step=break_weights)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000010"]


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(
    store: EmbeddingStore, tmp_path: Path, forks: ForkServerContext
) -> None:
    train_without_dropout(store.folder, tmp_path / "one", batch_size=64)
    run_ranks(forks, 2, train_without_dropout, store.folder, tmp_path / "two", 32)
    one, two = ([point["loss"] for point in read_curves(tmp_path / name / "curves.jsonl")] for name in ("one", "two"))
    assert len(one) == 50
    np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 5000}, "fewer than one batch of 5000"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"mixed_precision": "fp4"}, "mixed_precision must be"),
        ({"matryoshka_dims": [16, 32]}, "matryoshka_dims must lie between 1 and 31, not 32"),
        ({"with_teacher": False}, "only SimCSE can train the student"),
    ],
)
def test_wrong_arguments_are_refused(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, fields: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        start(store, teacher, tmp_path, **fields)
