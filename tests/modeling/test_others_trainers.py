"""A published folder trains in other libraries; what they save loads in a new process with the code beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.sentence_transformers_files import write_sentence_transformers_files
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support import others_trainers

# Two processes import everything anew.
pytestmark = pytest.mark.slow

# Adapters are saved without the model and its code.
WHOLE = [name for name in others_trainers.WAYS if name not in ("sentence-transformers with LoRA", "peft")]


@pytest.fixture(scope="module")
def folder(teacher: SentenceTransformerTeacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, as publish.py writes it but without ONNX files and card."""
    torch.manual_seed(0)
    tokenizer = student_tokenizer(teacher, 32, "trained:400", others_trainers.TEXTS * 9)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "max_position_embeddings": 32,
    }
    model = AsteriskModel(AsteriskConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes))
    target = tmp_path_factory.mktemp("published")
    save_student(model, tokenizer, target)
    write_sentence_transformers_files(load_checkpoint(target), target)
    return target


def run(action: str, folder: Path, saved: Path) -> dict[str, float]:
    """Run the trainers in a process that does not know this repository."""
    result = subprocess.run(
        [sys.executable, "-P", others_trainers.__file__, action, str(folder), str(saved)],
        cwd=saved,
        # A fresh cache of remote code, so that no other folder's code runs.
        env={**os.environ, "HF_MODULES_CACHE": str(saved / f"{action}-modules"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def saved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("saved")
    run("train", folder, target)
    return target


@pytest.fixture(scope="module")
def differences(folder: Path, saved: Path) -> dict[str, float]:
    return run("load", folder, saved)


@pytest.mark.parametrize("way", others_trainers.WAYS)
def test_trained_model_gives_the_same_output_in_a_new_process(differences: dict[str, float], way: str) -> None:
    assert differences[way] < 1e-6


@pytest.mark.parametrize("way", WHOLE)
def test_trained_model_keeps_its_code(saved: Path, way: str) -> None:
    assert {"modeling_asterisk.py", "configuration_asterisk.py"} <= {path.name for path in (saved / way).iterdir()}
