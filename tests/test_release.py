"""The released model: loads everywhere, is what its card and the record say, and gives the vectors it always gave."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from golden import RELEASE, VECTORS, texts
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from asterisk.evaluation import read_sentence_pairs, sts_spearman
from asterisk.onnx_embedder import OnnxEmbedder, unit

EVAL = REPOSITORY.parent / "shared" / "data" / "eval"
HEADS = REPOSITORY / "release" / "heads"
RECORD = json.loads((REPOSITORY / "benchmarks" / "results" / "release.json").read_text())


def test_the_folder_is_whole_and_small() -> None:
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=RELEASE).returncode == 0
    assert sum(path.stat().st_size for path in RELEASE.rglob("*") if path.is_file()) <= 45_000_000
    for head in HEADS.iterdir():
        assert sum(path.stat().st_size for path in head.iterdir()) <= 1_000_000


def test_no_bigger_than_the_papers_model() -> None:
    model = AutoModel.from_pretrained(RELEASE, trust_remote_code=True)
    assert sum(weight.numel() for weight in model.parameters()) <= 14_019_584
    assert model.config.num_hidden_layers == 2
    assert model.config.projection_dim <= 256
    assert model.config.max_position_embeddings >= 256


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_gives_the_vectors_it_always_gave(attention: str) -> None:
    model = AutoModel.from_pretrained(
        RELEASE, trust_remote_code=True, dtype=torch.float32, attn_implementation=attention
    )
    assert len(texts()) == 200
    np.testing.assert_allclose(model.encode(texts(), batch_size=32), np.load(VECTORS), atol=1e-4)


def test_every_form_gives_the_same_vectors() -> None:
    golden = np.load(VECTORS)
    loaded = SentenceTransformer(str(RELEASE), trust_remote_code=True, model_kwargs={"dtype": torch.float32})
    np.testing.assert_allclose(loaded.encode(texts()), golden, atol=1e-4)
    (form,) = (RELEASE / "onnx").glob("*.onnx")
    embedder = OnnxEmbedder(form)
    assert (unit(embedder.embed(embedder.token_ids(texts()))) * golden).sum(axis=1).min() > 0.999


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
