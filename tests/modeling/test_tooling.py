"""Tools that work on BERT work on Asterisk: compile, trace, export and quantise keep the embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import BitsAndBytesConfig, TorchAoConfig

from modeling_asterisk import AsteriskConfig, AsteriskModel
from modeling_asterisk.modeling_asterisk import check_weights
from tests.support.golden import RELEASE

# Some of these tools are deprecated themselves.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TEXTS = ["A man is playing a guitar.", "It rains.", "Three dogs run over a meadow in the rain, and nobody minds."]
OUTPUTS = ["last_hidden_state", "pooler_output"]


@pytest.fixture
def model() -> AsteriskModel:
    return AsteriskModel.from_pretrained(RELEASE, dtype=torch.float32)


@pytest.fixture
def inputs(model: AsteriskModel) -> dict[str, torch.Tensor]:
    assert model.tokenizer is not None
    encoded = model.tokenizer(TEXTS, padding=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def lowest_cosine(vectors: Any, expected: np.ndarray) -> float:
    vectors = np.asarray(vectors)
    return float(((vectors * expected).sum(axis=1) / np.linalg.norm(vectors, axis=1)).min())


class Pooled(nn.Module):
    """The model as a function of two tensors, which tracing and the older exporter need."""

    def __init__(self, model: AsteriskModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.model(input_ids, attention_mask)
        return outputs.last_hidden_state, outputs.pooler_output


def test_torch_compile_keeps_the_embeddings(model: AsteriskModel, inputs: dict[str, torch.Tensor]) -> None:
    expected = model.encode(TEXTS)
    with torch.inference_mode():
        compiled = torch.compile(model, fullgraph=True)(**inputs)
    np.testing.assert_allclose(compiled.pooler_output, expected, atol=1e-5)


def test_sentence_transformers_compile_keeps_the_embeddings(model: AsteriskModel) -> None:
    loaded = SentenceTransformer(str(RELEASE), trust_remote_code=True, device="cpu")
    loaded.compile()
    np.testing.assert_allclose(loaded.encode(TEXTS), model.encode(TEXTS), atol=1e-5)


def test_traced_model_takes_other_shapes(model: AsteriskModel, inputs: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(Pooled(model), tuple(inputs.values()))
        shorter = {name: tensor[:2, :9] for name, tensor in inputs.items()}
        np.testing.assert_allclose(traced(**shorter)[1], model.encode(TEXTS[:2]), atol=1e-5)


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_onnx_exporters_give_the_embeddings_under_inference_mode(
    model: AsteriskModel, inputs: dict[str, torch.Tensor], tmp_path: Path, dynamo: bool
) -> None:
    file = tmp_path / "model.onnx"
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=256)
    shapes: dict[str, Any] = {name: {0: "batch", 1: "length"} for name in (*inputs, *OUTPUTS)}
    dynamic: dict[str, Any] = {"dynamic_shapes": ({0: batch, 1: length},) * 2} if dynamo else {"dynamic_axes": shapes}
    with torch.inference_mode():
        torch.onnx.export(
            Pooled(model),
            tuple(inputs.values()),
            str(file),
            input_names=list(inputs),
            output_names=OUTPUTS,
            dynamo=dynamo,
            opset_version=18,
            **dynamic,
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    shorter = {name: tensor[:2, :9].numpy() for name, tensor in inputs.items()}
    np.testing.assert_allclose(session.run(["pooler_output"], shorter)[0], model.encode(TEXTS[:2]), atol=1e-5)


def test_dynamic_quantisation_keeps_a_cosine_of_0_99(model: AsteriskModel) -> None:
    expected = model.encode(TEXTS)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    assert lowest_cosine(quantised.encode(TEXTS), expected) > 0.99


def test_torchao_quantisation_keeps_a_cosine_of_0_99(model: AsteriskModel) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    expected = model.encode(TEXTS)
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    check_weights(model, {"missing_keys": [], "unexpected_keys": []})
    assert lowest_cosine(model.encode(TEXTS), expected) > 0.99


def test_torchao_quantises_while_the_model_is_loaded_and_saved(model: AsteriskModel, tmp_path: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    config = TorchAoConfig(torchao.Int8WeightOnlyConfig())
    quantised = AsteriskModel.from_pretrained(RELEASE, dtype=torch.float32, quantization_config=config)
    assert type(quantised.layers[0].self_attn.o_proj.weight) is not nn.Parameter
    assert lowest_cosine(quantised.encode(TEXTS), model.encode(TEXTS)) > 0.99
    quantised.save_pretrained(tmp_path)
    assert quantised.tokenizer is not None
    quantised.tokenizer.save_pretrained(tmp_path)
    np.testing.assert_allclose(
        AsteriskModel.from_pretrained(tmp_path).encode(TEXTS), quantised.encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "cosine"),
    [({"load_in_8bit": True}, 0.99), ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, 0.95)],
    ids=["8bit", "nf4"],
)
def test_bitsandbytes_loads_the_model(model: AsteriskModel, options: dict[str, Any], cosine: float) -> None:
    pytest.importorskip("bitsandbytes")
    config = BitsAndBytesConfig(**options)
    quantised = AsteriskModel.from_pretrained(RELEASE, quantization_config=config, device_map="cpu")
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    assert lowest_cosine(quantised.encode(TEXTS), model.encode(TEXTS)) > cosine


class QuantisedTensor(torch.Tensor):
    """A weight as quantisation libraries make it: a subclass of a tensor with few operations."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.Tensor.isfinite, torch.isfinite, torch.Tensor.float):
            raise NotImplementedError(function)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_check_of_weights_accepts_quantised_tensors() -> None:
    model = AsteriskModel(AsteriskConfig(vocab_size=50, hidden_size=16))
    weight = torch.ones(16, 16).as_subclass(QuantisedTensor)
    model.projection.weight = nn.Parameter(weight, requires_grad=False)
    check_weights(model, {"missing_keys": [], "unexpected_keys": []})
