"""The released model loads everywhere, matches its card and record, and gives unchanged vectors."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from asterisk.core.vectors import unit
from asterisk.evaluation.sts import read_sentence_pairs, sts_spearman
from asterisk.models.onnx import OnnxEmbedder
from tests.support.golden import RELEASE, VECTORS, texts
from tests.support.paths import REPOSITORY

EVAL = REPOSITORY.parent / "shared" / "data" / "eval"
HEADS = REPOSITORY / "release" / "heads"
RECORD = json.loads((REPOSITORY / "benchmarks" / "results" / "release.json").read_text())


def test_the_folder_is_whole_and_small() -> None:
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=RELEASE).returncode == 0
    assert sum(path.stat().st_size for path in RELEASE.rglob("*") if path.is_file()) <= 90_000_000
    for head in HEADS.iterdir():
        assert sum(path.stat().st_size for path in head.iterdir()) <= 1_000_000


def test_no_bigger_than_the_papers_model() -> None:
    model = AutoModel.from_pretrained(RELEASE, trust_remote_code=True)
    exits = {name for name, _ in model.named_parameters() if name.startswith("exits.")}
    assert sum(weight.numel() for name, weight in model.named_parameters() if name not in exits) <= 14_019_584
    assert model.config.num_hidden_layers == 2
    assert model.config.embedding_size <= 256
    assert model.config.max_position_embeddings >= 256


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_gives_the_vectors_it_always_gave(attention: str) -> None:
    model = AutoModel.from_pretrained(
        RELEASE, trust_remote_code=True, dtype=torch.float32, attn_implementation=attention
    )
    assert len(texts()) == 200
    np.testing.assert_allclose(model.encode(texts(), batch_size=32), np.load(VECTORS), atol=1e-4)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModel.from_pretrained(RELEASE, trust_remote_code=True, dtype=torch.float32)


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_the_vectors_do_not_depend_on_the_batch(model: Any, batch_size: int) -> None:
    np.testing.assert_allclose(model.encode(texts(), batch_size=batch_size), np.load(VECTORS), atol=1e-4)
    # The other texts of the batch and their order do not matter.
    np.testing.assert_allclose(model.encode(texts()[::-1], batch_size=batch_size)[::-1], np.load(VECTORS), atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.slow
def test_the_vectors_do_not_depend_on_the_side_that_is_padded(model: Any, side: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(RELEASE, padding_side=side)
    encoded = tokenizer(texts(), padding=True, truncation=True, return_tensors="pt")
    mask = encoded["attention_mask"]
    # With padding on the left, the caller counts positions from the first token, as for any learned positions.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.inference_mode():
        vectors = model(encoded["input_ids"], mask, position_ids=positions).pooler_output
    np.testing.assert_allclose(vectors, np.load(VECTORS), atol=1e-4)
    np.testing.assert_allclose(model.encode(texts(), tokenizer=tokenizer), np.load(VECTORS), atol=1e-4)


@pytest.mark.parametrize(("dtype", "lowest"), [(torch.float16, 0.99999), (torch.bfloat16, 0.999)], ids=str)
def test_half_precision_gives_nearly_the_same_vectors(dtype: torch.dtype, lowest: float) -> None:
    model = AutoModel.from_pretrained(RELEASE, trust_remote_code=True, dtype=dtype)
    assert (model.encode(texts()) * np.load(VECTORS)).sum(axis=1).min() > lowest


@pytest.mark.parametrize("threads", [1, 3])
def test_the_vectors_do_not_depend_on_the_threads(model: Any, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        np.testing.assert_allclose(model.encode(texts()), np.load(VECTORS), atol=1e-4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_sixteen_threads_get_what_one_gets(model: Any) -> None:
    chosen = texts()[-40:]
    expected = model.encode(chosen)
    with ThreadPoolExecutor(16) as threads:
        for vectors in threads.map(lambda _: model.encode(chosen), range(16)):
            np.testing.assert_array_equal(vectors, expected)


FORKED = """
import multiprocessing, sys
import numpy as np, torch
from tests.support.golden import RELEASE, texts
from modeling_asterisk import AsteriskModel
torch.set_num_threads(4)
model = AsteriskModel.from_pretrained(RELEASE).float()
expected = model.encode(texts())

def encode():
    np.testing.assert_allclose(model.encode(texts()), expected, atol=1e-5)
    assert torch.get_num_threads() == 4

processes = [multiprocessing.get_context("fork").Process(target=encode, daemon=True) for _ in range(4)]
for process in processes:
    process.start()
encode()
for process in processes:
    process.join(300)  # a process that waits for threads lost in the fork would hang
sys.exit(str([process.exitcode for process in processes]))
"""


@pytest.mark.slow
def test_four_forked_processes_give_the_vectors_and_keep_the_threads_of_their_parent() -> None:
    """A web server loads the model and then forks."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)
    result = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == "[0, 0, 0, 0]", result.stderr[-2000:]


def test_every_form_gives_the_same_vectors() -> None:
    """The native twin needs no Dense module, so that clients that only mean-pool get the same vectors."""
    golden = np.load(VECTORS)
    loaded = SentenceTransformer(str(RELEASE), trust_remote_code=True, model_kwargs={"dtype": torch.float32})
    np.testing.assert_allclose(loaded.encode(texts()), golden, atol=1e-4)
    for form, lowest in (("model", 0.9999), ("model_int8", 0.999)):
        embedder = OnnxEmbedder(RELEASE / "onnx" / f"{form}.onnx")
        assert (unit(embedder.embed(embedder.token_ids(texts()))) * golden).sum(axis=1).min() > lowest
    twin = SentenceTransformer(str(RELEASE.parent / "native"), model_kwargs={"dtype": torch.float32})
    np.testing.assert_allclose(twin.encode(texts()), golden, atol=1e-4)
    bare = AutoModel.from_pretrained(RELEASE.parent / "native", dtype=torch.float32)
    encoded = AutoTokenizer.from_pretrained(RELEASE.parent / "native")(["It rains."], return_tensors="pt")
    with torch.inference_mode():
        mean = bare(**encoded).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(unit(mean.numpy()), loaded.encode(["It rains."]), atol=1e-4)


@pytest.mark.parametrize("head", ["banking", "emotion"])
def test_example_heads_classify(head: str) -> None:
    config = AutoConfig.from_pretrained(HEADS / head, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        RELEASE, config=config, trust_remote_code=True, dtype=torch.float32
    )
    model = PeftModel.from_pretrained(model, HEADS / head).merge_and_unload()
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(RELEASE))
    text, label = {"banking": ("I lost my card.", "lost"), "emotion": ("I am so happy today!", "joy")}[head]
    assert label in classify(text)[0]["label"]


@pytest.mark.skipif(not EVAL.is_dir(), reason="the benchmarks are not on this machine")
def test_a_figure_of_the_record_is_measured_again() -> None:
    pairs = read_sentence_pairs(str(EVAL / "sts" / "STSBenchmark.test.parquet"), "STS-B")
    model = AutoModel.from_pretrained(RELEASE, trust_remote_code=True, dtype=torch.float32)
    assert sts_spearman(model.encode, pairs) == pytest.approx(RECORD["summary"]["scores"]["STSBenchmark"], abs=0.05)


def test_the_card_has_the_figures_of_the_record() -> None:
    card = Path(RELEASE / "README.md").read_text(encoding="utf-8")
    for task, score in RECORD["summary"]["scores"].items():
        assert f"{score:.2f}" in card, task
