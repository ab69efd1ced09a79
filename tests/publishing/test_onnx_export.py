"""The ONNX graphs of every kind of Asterisk give its embeddings for any batch size and length."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from asterisk.core.errors import UserError
from asterisk.publishing.onnx_export import export, quantize_matrices, quantize_table
from modeling_asterisk import AsteriskConfig, AsteriskModel

SIZES = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "projection_dim": 24}


def model(**changes: object) -> AsteriskModel:
    torch.manual_seed(0)
    config = AsteriskConfig(**{**SIZES, **changes})  # type: ignore[arg-type]
    config._attn_implementation = "eager"
    return AsteriskModel(config).eval()


def embeddings(graph: bytes, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph)
    return session.run(["sentence_embedding"], {name: each.numpy() for name, each in inputs.items()})[0]


@pytest.mark.slow
def test_graph_gives_the_models_embeddings() -> None:
    # Without learned positions, nothing limits the length.
    own = model(pooling="last", position_encoding="none", is_causal=True, max_position_embeddings=1)
    graph = export(own)
    small = copy.deepcopy(graph)
    quantize_table(small)
    for batch, length in ((1, 1), (4, 17), (2, 100)):
        inputs = {
            "input_ids": torch.randint(0, 90, (batch, length)),
            "attention_mask": torch.ones(batch, length).long(),
        }
        if batch > 1:
            inputs["attention_mask"][0, length // 2 :] = 0
        if batch > 2:
            inputs["attention_mask"][2] = 0  # a row without tokens has a zero embedding
        with torch.no_grad():
            expected = own(**inputs).pooler_output.numpy()
        np.testing.assert_allclose(embeddings(graph.SerializeToString(), inputs), expected, atol=1e-5)
        rough = embeddings(small.SerializeToString(), inputs)
        kept = np.linalg.norm(expected, axis=1) > 0
        assert (rough * expected).sum(axis=1)[kept].min() > 0.999


@pytest.mark.slow
def test_the_mean_of_the_token_vectors_is_the_embedding_in_int8_too(tmp_path: Path) -> None:
    # With a square projection, a wrong transposition keeps the shape.
    onnx.save(export(model(projection_dim=SIZES["hidden_size"])), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(quantize_matrices(tmp_path / "model.onnx").SerializeToString())
    inputs = {"input_ids": np.random.default_rng(0).integers(0, 90, (4, 9)), "attention_mask": np.ones((4, 9), int)}
    tokens, embedding = session.run(["last_hidden_state", "sentence_embedding"], inputs)
    pooled = tokens.mean(axis=1)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    assert (pooled * embedding).sum(axis=1).min() > 0.999


def test_each_row_of_the_token_table_has_its_own_scale() -> None:
    table = np.random.default_rng(0).normal(size=(90, 32)).astype(np.float32)
    table[3] *= 1_000
    table[4] = 0
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["length"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["length", 32])
    lookup = helper.make_node("Gather", ["weight", "input_ids"], ["rows"])
    graph = helper.make_graph([lookup], "lookup", [ids], [rows], [numpy_helper.from_array(table, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    quantize_table(model)
    assert [each.data_type for each in model.graph.initializer] == [TensorProto.INT8, TensorProto.FLOAT]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    error = np.abs(session.run(None, {"input_ids": np.arange(90)})[0] - table)
    # Half a step of 127.
    assert (error <= np.abs(table).max(axis=1, keepdims=True) / 254 * 1.001).all()


def test_a_model_of_one_position_is_refused() -> None:
    with pytest.raises(UserError, match="at most one token"):
        export(model(max_position_embeddings=1))
