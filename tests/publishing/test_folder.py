"""publish.py writes a folder that every consumer reads alike, or no folder."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.models.load import load_encoder
from asterisk.models.onnx import onnx_file
from asterisk.publishing.arguments import PublishArguments
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.folder import build_folder
from asterisk.publishing.verification import verify
from modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel
from tests.support.flags import SMALL_STS
from tests.support.paths import REPOSITORY
from tests.support.programs import run_here
from tests.support.published import BACKBONE_TEXTS, few_pairs, head_folder, python_snippets

# These tests start processes.
pytestmark = pytest.mark.slow

ONNX = ("model", "model_fp16", "model_int8", "model_quantized")


def load_handler(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("endpoint_handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_folder_holds_what_every_consumer_reads(published: Path) -> None:
    names = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    assert names == {
        *("README.md", "LICENSE", "SHA256SUMS", "forms.json", "handler.py", "model.safetensors", "config.json"),
        *("configuration_asterisk.py", "modeling_asterisk.py", "tokenizer.json", "tokenizer_config.json"),
        *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json"),
        *(f"onnx/{name}.onnx" for name in ONNX),
        *("figures/curves.png", "figures/scores.png"),
    }
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=published).returncode == 0
    assert set(read_json(published / "config.json")["auto_map"]) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForSequenceClassification",
    }
    tokenizer = read_json(published / "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_max_length"] == 128
    assert "token_type_ids" not in tokenizer["model_input_names"]
    pooling = read_json(published / "1_Pooling" / "config.json")
    assert pooling["pooling_mode_mean_tokens"] is True
    assert pooling["pooling_mode"] == "mean"
    assert not [path for path in published.rglob("*") if path.suffix in (".bin", ".pkl", ".pt", ".data")]


def test_onnx_files_are_whole_and_take_any_batch_and_length(published: Path) -> None:
    sizes = {}
    for name in ONNX:
        model = onnx.load(published / "onnx" / f"{name}.onnx", load_external_data=False)
        onnx.checker.check_model(model)
        shapes = {
            each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
            for each in [*model.graph.input, *model.graph.output]
        }
        assert shapes == {
            "input_ids": ["batch", "length"],
            "attention_mask": ["batch", "length"],
            "last_hidden_state": ["batch", "length", 256],
            "sentence_embedding": ["batch", 256],
        }
        sizes[name] = (published / "onnx" / f"{name}.onnx").stat().st_size
    weights = (published / "model.safetensors").stat().st_size
    assert sizes["model_fp16"] < 0.51 * weights
    # A quarter of float32, but half for the matrices that stay in half precision: both of the first layer's attention,
    # the last layer's second product and the projection.
    kept = 4 * (4 * 256**2 + 512 * 256 + 256**2)
    assert sizes["model_int8"] < 0.28 * (weights - kept) + 0.51 * kept


def test_every_form_agrees_and_the_record_says_how_far(published: Path, small_run: Path) -> None:
    forms = read_json(published / "forms.json")["forms"]
    assert set(forms) == {
        *("checkpoint", "AutoModel", "sentence-transformers", "handler.py"),
        *(f"onnx/{name}.onnx" for name in ONNX),
    }
    for name, line in forms.items():
        reduced = name.startswith("onnx/model_")
        assert line["tolerance"] == (0.999 if reduced else 0.9999)
        assert line["lowest_cosine"] >= line["tolerance"]
        assert abs(line[SMALL_STS] - forms["checkpoint"][SMALL_STS]) < (0.5 if reduced else 0.01)
    # The training run measured the same score.
    run = read_json(small_run / "results.json")[-1]["sts"]
    assert forms["checkpoint"][SMALL_STS] == pytest.approx(run[SMALL_STS], abs=1e-3)


@pytest.mark.parametrize("form", ["", "onnx", "onnx/model_int8.onnx"])
def test_evaluation_takes_the_folder_and_its_onnx_files(published: Path, small_run: Path, form: str) -> None:
    expected = AsteriskModel.from_pretrained(small_run / "model").encode(BACKBONE_TEXTS)
    encoder = load_encoder(str(published / form))
    cosines = (encoder.encode(BACKBONE_TEXTS) * expected).sum(axis=1)
    assert cosines.min() > (0.999 if "int8" in form else 0.9999)
    assert encoder.max_length == 128


def test_the_handler_answers_requests_and_refuses_wrong_ones(published: Path) -> None:
    endpoint = load_handler(published).EndpointHandler(str(published))
    one, several = endpoint({"inputs": "rain"}), endpoint({"inputs": ["rain", "A dog runs."]})
    np.testing.assert_allclose(one, several[0], atol=1e-6)
    assert (len(several), len(several[1])) == (2, 256)
    assert len(endpoint({"inputs": "rain", "parameters": {"truncate_dim": 32}})) == 32
    assert endpoint({"inputs": []}) == []
    json.dumps(several)
    for request, message in (
        ([], "JSON object"),
        ({"text": "rain"}, '"inputs"'),
        ({"inputs": {"a": 1}}, "not dict"),
        ({"inputs": ["rain", None]}, "number 1 is NoneType"),
        ({"inputs": ["rain"] * 5_000}, "at most 4,096 texts"),
        ({"inputs": ["rain", "\ud83e"]}, "surrogate"),
        ({"inputs": "rain", "parameters": {"top_k": 1}}, "may hold normalize and truncate_dim"),
        ({"inputs": "rain", "parameters": {"truncate_dim": "64"}}, "must be of type int"),
        ({"inputs": "rain", "parameters": {"truncate_dim": 999}}, "between 1 and 256"),
    ):
        with pytest.raises(ValueError, match=message):
            endpoint(request)


def test_a_form_that_differs_is_refused_by_name(published: Path, small_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(published, tmp_path / "folder")
    for name in ("modules.json", "handler.py", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"):
        (folder / name).unlink()
    shutil.copy(folder / "onnx" / "model_int8.onnx", folder / "onnx" / "model.onnx")
    with pytest.raises(UserError, match=r"The form onnx/model\.onnx differs .* below 0\.9999; nothing was published"):
        verify(load_checkpoint(small_run / "model"), folder, few_pairs(), half=False)


def test_a_head_is_published_with_its_logits(tmp_path: Path) -> None:
    head, texts = head_folder(tmp_path / "run"), ["Play a song.", "rain"]
    folder = tmp_path / "hub"
    record = build_folder(
        load_checkpoint(head),
        folder,
        few_pairs(),
        PublishArguments(output_dir=str(folder), examples=texts, dtype="float16"),
    )
    assert set(record["forms"]) == {
        *("checkpoint", "AutoModelForSequenceClassification", "handler.py"),
        *(f"onnx/{name}.onnx" for name in ONNX),
    }
    assert not (folder / "modules.json").exists()
    outputs = onnx.load(folder / "onnx" / "model.onnx").graph.output
    assert [each.name for each in outputs] == ["logits"]
    model = AsteriskForSequenceClassification.from_pretrained(folder)
    # Half precision in the file only: processors compute several times slower in it.
    assert model.dtype == torch.float32
    assert {each.dtype for each in load_file(folder / "model.safetensors").values()} == {torch.float16}
    endpoint = load_handler(folder).EndpointHandler(str(folder))
    answers = endpoint({"inputs": texts, "parameters": {"top_k": 1, "function_to_apply": "softmax"}})
    for request, message in (
        ({"inputs": "\ud83e"}, "surrogate"),
        ({"inputs": "rain", "parameters": {"function_to_apply": "x"}}, "one of sigmoid, softmax, none"),
    ):
        with pytest.raises(ValueError, match=message):
            endpoint(request)
    card = (folder / "README.md").read_text(encoding="utf-8")
    snippets = python_snippets(card)
    names: dict = {}
    for snippet in snippets:
        exec(snippet, names)
    assert len(snippets) == 2
    labels = ["music", "weather", "other"]
    assert [labels[row] for row in names["logits"].argmax(axis=1)] == [each[0]["label"] for each in answers]
    assert "music, weather, other" in card


def test_wrong_input_gives_one_sentence_and_leaves_nothing(small_run: Path, tmp_path: Path) -> None:
    model, output = small_run / "model", tmp_path / "hub"
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    result = run_here("publish.py", tmp_path / "bert", "--output_dir", output)
    assert result.returncode == 2
    assert (
        result.stderr == f"error: {tmp_path}/bert holds a model of type 'bert'; only an Asterisk can be published.\n"
    )
    assert not output.exists()
    pairs, checkpoint = few_pairs(), load_checkpoint(model)
    with pytest.raises(UserError, match="is not a published folder"):
        build_folder(checkpoint, tmp_path / "full", pairs, PublishArguments(repo_id="x"))
    assert (tmp_path / "full" / "thesis.txt").exists()
    with pytest.raises(UserError, match="must be float32 or float16, not 'int8'"):
        build_folder(checkpoint, output, pairs, PublishArguments(dtype="int8"))
    with pytest.raises(UserError, match="There is no checkpoint folder nowhere"):
        load_checkpoint(Path("nowhere"))


def test_help_shows_whole_commands() -> None:
    assert "python publish.py runs/demo/model --output_dir" in run_here("publish.py", "--help").stdout
    assert (REPOSITORY / "publish.py").exists()


def test_a_native_twin_holds_no_file_that_leaves_the_embedding_space(small_run: Path, tmp_path: Path) -> None:
    checkpoint, folder = load_checkpoint(small_run / "model"), tmp_path / "hub"
    record = build_folder(checkpoint, folder, few_pairs(), PublishArguments(repo_id="me/twin", native=True))
    assert set(record["forms"]) == {"checkpoint", "sentence-transformers"}
    # sentence-transformers would apply 2_Dense to the projected output of an ONNX file once more.
    assert (folder / "2_Dense").is_dir()
    assert not (folder / "onnx").exists()
    card = (folder / "README.md").read_text()
    assert "onnx" not in card.lower()
    assert "`2_Dense`" in card
    assert len(python_snippets(card)) == 1


def test_a_compact_folder_holds_a_full_onnx_file_in_half_precision_and_the_smallest(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    checkpoint = load_checkpoint(head_folder(tmp_path))
    record = build_folder(
        checkpoint, folder, few_pairs(), PublishArguments(repo_id="me/compact", dtype="float16", compact=True)
    )
    # text-embeddings-inference and other servers ask for model.onnx.
    assert {path.name for path in (folder / "onnx").iterdir()} == {"model.onnx", "model_int8.onnx"}
    full = onnx.load(folder / "onnx" / "model.onnx")
    matrices = [each.data_type for each in full.graph.initializer if len(each.dims) == 2]
    assert onnx.TensorProto.FLOAT16 in matrices
    assert onnx.TensorProto.FLOAT not in matrices
    assert [each.type.tensor_type.elem_type for each in full.graph.output] == [onnx.TensorProto.FLOAT]
    assert record["forms"]["onnx/model.onnx"]["lowest_cosine"] > 0.9999
    # transformers.js finds this file by default, and the key does not disturb transformers.
    assert read_json(folder / "config.json")["transformers.js_config"] == {"dtype": "int8"}
    assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "asterisk"
    assert not any("model_quantized" in name for name in record["forms"])
    card = (folder / "README.md").read_text()
    assert "model_int8.onnx" in card
    assert "model_quantized.onnx" not in card
    assert onnx_file(folder, "").name == "model.onnx"
