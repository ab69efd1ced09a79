"""Harmful artefacts are refused in a sentence, soon, in little memory, and leave nothing behind."""

from pathlib import Path

import pytest

from tests.support.poisoned import CASES, MODEL_READERS, Case, refuse

# `python -m benchmarks.artefacts` records what each takes.
MOST_SECONDS, MOST_MB = 5.0, 400.0

# Those of transformers and safetensors themselves among them.
KINDS = {"ValueError", "OSError", "RuntimeError", "SafetensorError", "RecursionError", "Exception", "UserError"}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_poisoned_artefact_is_refused(case: Case, tmp_path: Path) -> None:
    refusal = refuse(case, tmp_path)
    assert refusal is not None, "It was taken."
    assert case.sentence in refusal.sentence
    if case.reader.endswith((".py", "--model", "--encoder", "--teacher", "--corpus", "--train_file", "--config")):
        assert refusal.kind == "exit 2", refusal
        assert refusal.sentence.startswith("error: "), refusal.sentence
        assert refusal.sentence.count("\n") == 1, refusal.sentence
        assert not (tmp_path / "out").exists()
    else:
        assert refusal.kind in KINDS, refusal
    assert refusal.seconds < MOST_SECONDS
    assert refusal.peak_mb < MOST_MB


def test_the_same_model_unharmed_is_taken(tmp_path: Path) -> None:
    case = Case("nothing", "AutoModel", lambda folder: None, "")
    assert refuse(case, tmp_path) is None
    assert len({case.name for case in CASES}) > 30
    assert {case.reader for case in CASES} > set(MODEL_READERS)
