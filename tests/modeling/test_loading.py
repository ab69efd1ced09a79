"""`from_pretrained` loads the tokenizer with the weights, and a new head without the stored head's calibration."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel
from tests.support.hub_server import Hub, Repository
from tests.support.models import make_classifier, make_model
from tests.support.paths import REPOSITORY
from tests.support.words import word_tokenizer

TEXTS = ["a man plays guitar", "rain"]
SIZES: dict[str, Any] = {"vocab_size": 12, "max_position_embeddings": 16}
LATEST, PINNED = "b" * 40, "a" * 40


def tokenizer(reverse: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of ten words; reversed, their ids run the other way, so that texts get other vectors."""
    return PreTrainedTokenizerFast(tokenizer_object=word_tokenizer(reverse), model_max_length=16, pad_token="[PAD]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_student(make_model(**SIZES), tokenizer(), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def expected(folder: Path) -> np.ndarray:
    return AsteriskModel.from_pretrained(folder).encode(TEXTS, tokenizer=tokenizer())


@pytest.fixture
def cache(folder: Path, tmp_path: Path) -> Path:
    """A cache in which the tag v1 has the folder's tokenizer and the branch main another one."""
    repository = tmp_path / "cache" / "models--me--demo"
    for revision in (PINNED, LATEST):
        shutil.copytree(folder, repository / "snapshots" / revision)
    tokenizer(reverse=True).save_pretrained(repository / "snapshots" / LATEST)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(LATEST)
    (repository / "refs" / "v1").write_text(PINNED)
    return tmp_path / "cache"


@pytest.mark.parametrize("loader", [AutoModel, AsteriskModel])
def test_pinned_revision_has_its_own_tokenizer(cache: Path, expected: np.ndarray, loader: Any) -> None:
    options: dict[str, Any] = {"cache_dir": cache, "local_files_only": True}
    pinned = loader.from_pretrained("me/demo", revision="v1", **options)
    np.testing.assert_allclose(pinned.encode(TEXTS), expected, atol=1e-6)
    latest = loader.from_pretrained("me/demo", **options)
    assert np.abs(latest.encode(TEXTS) - expected).max() > 0.1


def test_classifier_of_a_pinned_revision_has_its_tokenizer(cache: Path, expected: np.ndarray) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        "me/demo", revision="v1", cache_dir=cache, local_files_only=True
    )
    np.testing.assert_allclose(model.base_model.encode(TEXTS), expected, atol=1e-6)


def test_subfolder_has_its_own_tokenizer(folder: Path, expected: np.ndarray) -> None:
    tokenizer(reverse=True).save_pretrained(folder.parent)
    model = AsteriskModel.from_pretrained(folder.parent, subfolder="model")
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-6)


def test_encode_works_after_the_folder_is_out_of_reach(
    folder: Path, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    model = AsteriskModel.from_pretrained("model")
    monkeypatch.chdir(tmp_path.parent)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-6)
    shutil.rmtree(folder)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("content", [None, "{", json.dumps({"model": {"type": "unknown"}})])
def test_model_without_a_usable_tokenizer_loads_and_encode_names_the_reason(folder: Path, content: str | None) -> None:
    (folder / "tokenizer.json").unlink()
    if content is not None:
        (folder / "tokenizer.json").write_text(content)
    model = AsteriskModel.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"the tokenizer of .*model cannot be loaded: .*pass encode\(") as error:
        model.encode(TEXTS)
    assert str(folder) in str(error.value)
    model.save_pretrained(folder.parent / "again")
    assert AsteriskModel.from_pretrained(folder.parent / "again").tokenizer is None


def test_loading_info_and_tokenizer_come_together(folder: Path, expected: np.ndarray) -> None:
    model, info = AsteriskModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-6)


def test_new_head_drops_the_calibration_of_the_stored_one(tmp_path: Path) -> None:
    fields = {"num_labels": 4, "temperature": 2.0, "thresholds": [0.2, 0.3, 0.4, 0.5], "none_threshold": 0.1}
    save_student(make_classifier(**SIZES, **fields), tokenizer(), tmp_path / "head")
    stored = AsteriskForSequenceClassification.from_pretrained(tmp_path / "head").config
    assert (stored.temperature, stored.thresholds, stored.none_threshold) == (2.0, [0.2, 0.3, 0.4, 0.5], 0.1)
    for loader in (AsteriskForSequenceClassification, AutoModelForSequenceClassification):
        model = loader.from_pretrained(tmp_path / "head", num_labels=6, ignore_mismatched_sizes=True)
        assert (model.config.temperature, model.config.thresholds, model.config.none_threshold) == (1.0, None, None)
        assert model(torch.tensor([[2, 3]])).logits.shape == (1, 6)


PRIVATE = """
import sys
from transformers import AutoModel
load = dict(revision="v1", token="hf_secret", cache_dir=sys.argv[1], trust_remote_code=True)
vectors = AutoModel.from_pretrained("me/demo", **load).encode(["a man plays guitar", "rain"])
print(vectors.tolist())
"""


@pytest.mark.slow
def test_private_repository_is_read_with_the_token_that_was_given(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    with Hub() as hub:
        repository = Repository(private=True)
        repository.add("v1", {path.name: path.read_bytes() for path in folder.iterdir()}, "first")
        repository.add("main", {"tokenizer.json": b"{}"}, "second")
        hub.repositories["me/demo"] = repository
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [sys.executable, "-c", PRIVATE, str(tmp_path / "cache")],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert result.returncode == 0, result.stderr[-3000:]
    np.testing.assert_allclose(json.loads(result.stdout), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["configuration_asterisk.py", "modeling_asterisk.py"])
def test_released_copies_are_the_files_that_travel(name: str) -> None:
    copies = [*(REPOSITORY / "release" / "asterisk").glob(name), *(REPOSITORY / "release" / "heads").glob(f"*/{name}")]
    assert copies
    for copy in copies:
        assert copy.read_bytes() == (REPOSITORY / "modeling_asterisk" / name).read_bytes(), (
            f"{copy} is another version"
        )
