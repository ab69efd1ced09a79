"""A resumed run equals an undisturbed one, and no file of a checkpoint runs code."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asterisk.core.checksums import CHECKSUMS, write_checksums
from asterisk.core.errors import UserError
from asterisk.distillation.curves import read_curves
from asterisk.distillation.pairs import Pairs
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.trainings import start


class KilledError(Exception):
    """Stands for the end of a process at any moment."""


@pytest.mark.parametrize(
    ("killed_at", "fields"),
    [
        (5, {}),
        pytest.param(26, {"gradient_accumulation_steps": 2, "batch_size": 32}, marks=pytest.mark.slow),
        pytest.param(
            41, {"simcse_weight": 0.1, "matryoshka_dims": [8, 16], "similarity_weight": 1.0}, marks=pytest.mark.slow
        ),
        pytest.param(30, {"average_checkpoints": 3}, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_ends_with_the_same_weights_bit_for_bit(
    store: EmbeddingStore, teacher: SentenceTransformerTeacher, tmp_path: Path, killed_at: int, fields: dict
) -> None:
    rows = np.arange(100)
    fields = {**fields, "pairs": Pairs(rows, rows[::-1].copy()), "checkpoint_steps": 8}
    undisturbed = start(store, teacher, tmp_path / "a", **fields)
    undisturbed.train()

    def kill(step: int) -> None:
        if step == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        start(store, teacher, tmp_path / "b", **fields).train(on_step=kill)
    torch.manual_seed(99)  # a new process draws other numbers
    resumed = start(store, teacher, tmp_path / "b", **fields)
    resumed.train()

    assert resumed.progress.step == undisturbed.progress.step > killed_at
    weights = resumed.student.state_dict()
    for name, weight in undisturbed.student.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    scores = [
        [(point["step"], point["scores"]) for point in read_curves(tmp_path / run / "curves.jsonl")] for run in "ab"
    ]
    assert scores[0] == scores[1]


class Code:
    """A pickle that makes its reader create a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.slow
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
        write_checksums(checkpoint)  # whoever changes a file can change its checksum
        resumed = start(store, teacher, tmp_path / "run", **fields)
        if name == "random_states_0.pkl":  # Accelerate continues without it
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
