"""The snippet for each consumer gives the model's vectors; other kinds of folders are refused."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asterisk.models.tokenizers import save_tokenizer
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.native import write_native_model
from benchmarks import consumers
from benchmarks.consumer_snippets import (
    ENCODE,
    NATIVE,
    ONNX,
    ONNXRUNTIME,
    PAGE,
    PIPELINE,
    PYTHON_FRAME,
    READ_BACK,
    REMOTE,
    SENTENCE_TRANSFORMERS,
    page_snippet,
)
from benchmarks.consumers import CONSUMERS, ENVIRONMENTS, ConsumerFailure, answer, compare, real_texts
from modeling_asterisk import AsteriskModel
from tests.support.published import BACKBONE_TEXTS

# These tests start processes.
pytestmark = pytest.mark.slow

TEXTS = [*BACKBONE_TEXTS, " ", "🙂"]


@pytest.fixture(scope="module")
def expected(small_run: Path) -> np.ndarray:
    return AsteriskModel.from_pretrained(small_run / "model").encode(TEXTS)


@pytest.fixture(scope="module")
def native(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint, folder = load_checkpoint(small_run / "model"), tmp_path_factory.mktemp("native")
    write_native_model(checkpoint, folder, torch.float32)
    save_tokenizer(checkpoint.tokenizer, folder)
    return folder


@pytest.mark.parametrize(
    ("snippet", "form"),
    [
        (ENCODE, REMOTE),
        (SENTENCE_TRANSFORMERS, REMOTE),
        (SENTENCE_TRANSFORMERS, NATIVE),
        (PIPELINE, REMOTE),
        (PIPELINE, NATIVE),
        *((ONNXRUNTIME, form) for form in ONNX),
    ],
)
def test_snippet_gives_the_models_vectors(
    snippet: str, form: str, published: Path, native: Path, expected: np.ndarray
) -> None:
    folder = native if form == NATIVE else published
    names = {"folder": str(folder), "form": form, "remote": form == REMOTE, "texts": TEXTS, "json": json, "Path": Path}
    exec(snippet, names)
    assert compare(np.array(names["vectors"]), expected, form, TEXTS)["verdict"] == "same"


def test_a_separate_process_returns_vectors_versions_and_reasons(published: Path, expected: np.ndarray) -> None:
    command = [sys.executable, "-P", "-c"]
    packages, vectors = answer(command, PYTHON_FRAME, ONNXRUNTIME, published, ONNX[0], TEXTS)
    assert {"onnxruntime", "tokenizers"} <= packages.keys()
    assert compare(vectors, expected, ONNX[0], TEXTS)["verdict"] == "same"
    with pytest.raises(ConsumerFailure, match=r"^ModuleNotFoundError: No module named 'absent'$"):
        answer(command, PYTHON_FRAME, "import absent", published, ONNX[0], TEXTS)
    with pytest.raises(ConsumerFailure, match="different dimensions: 0, 2"):
        answer(command, PYTHON_FRAME, "vectors = [[1.0, 2.0], []]", published, ONNX[0], TEXTS)


def test_differing_texts_are_named(expected: np.ndarray) -> None:
    changed = expected.copy()
    changed[1] += 0.03 * np.eye(len(expected[1]))[0]  # a cosine of about 0.9995
    changed[2] = np.nan
    assert compare(changed, expected, REMOTE, TEXTS)["different"] == TEXTS[1:3]
    assert compare(changed, expected, ONNX[3], TEXTS)["verdict"] == f"1 of {len(TEXTS)} differ"
    with pytest.raises(ConsumerFailure, match="shape"):
        compare(expected[:, :3], expected, REMOTE, TEXTS)


def test_every_consumer_has_its_environment_and_the_texts_vary() -> None:
    assert {name for each in CONSUMERS.values() for name in each.forms} == set(ENVIRONMENTS)
    texts = real_texts(200)
    assert len(set(texts)) == len(texts) >= 200
    assert max(len(text.split()) for text in texts) >= 300


def test_folders_of_another_kind_are_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, native, message in (
        (tmp_path, published, "is not a published embedding model; give a folder that publish.py wrote."),
        (published, published, "is published with remote code; give what publish.py --native wrote."),
    ):
        monkeypatch.setattr(sys, "argv", ["consumers", "--model", str(model), "--native", str(native)])
        with pytest.raises(SystemExit, match="2"):
            consumers.main()
        assert capsys.readouterr().err == f"error: {model} {message}\n"


def test_every_database_of_the_page_is_a_consumer() -> None:
    sections = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in sections if name in READ_BACK] == list(READ_BACK)
    for name in READ_BACK:
        compile(page_snippet(name), name, "exec")
        assert CONSUMERS[name].snippet == page_snippet(name)
