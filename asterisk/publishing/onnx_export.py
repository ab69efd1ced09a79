"""Export the model as ONNX files: float32, float16, int8, and int8 with an int8 token table (as for the exits).

Each file is self-contained. Inputs: `input_ids` and `attention_mask` (batch, length), int64. Outputs, all float32:
`last_hidden_state` (batch, length, dimensions) and the unit-norm `sentence_embedding` (batch, dimensions), or `logits`
(batch, labels) for a classifier. transformers.js finds the files by these names; its `dtype` is fp32, fp16, q8, int8.
"""

import contextlib
import copy
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from asterisk.core.errors import UserError
from asterisk.models.onnx import exit_file
from asterisk.publishing.checkpoint import Checkpoint
from modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel

# Matrix products that stay in floating point: both of the first layer's attention (queries, keys and values; output)
# and the last layer's second feed-forward product, whose inputs have the most uneven scale.
FIRST_PRODUCTS, LAST_PRODUCTS = 2, 1
# A model of one layer has four products, of which the first stays in floating point.
FIRST_OF_ONE, LAST_OF_ONE = 1, 0
# Suffix of the products that replace Gemm nodes; these are the products of pooled vectors.
GEMM = "_product"

FULL, HALF, QUANTIZED, SMALLEST = "model.onnx", "model_fp16.onnx", "model_quantized.onnx", "model_int8.onnx"

INPUTS = ("input_ids", "attention_mask")
TOKENS, EMBEDDING, LOGITS = "last_hidden_state", "sentence_embedding", "logits"


class _Outputs(torch.nn.Module):
    """The model with tensors as inputs and outputs."""

    def __init__(self, model: AsteriskModel | AsteriskForSequenceClassification):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if isinstance(self.model, AsteriskForSequenceClassification):
            return (outputs.logits.float(),)
        return outputs.last_hidden_state.float(), outputs.pooler_output.float()


def write_onnx_files(checkpoint: Checkpoint, folder: Path, compact: bool = False) -> None:
    """Create the folder with four files, and one file in the smallest form for each exit.

    A `compact` folder has two files instead of four: the smallest, and the full one, stored in float16 with an int8
    token table.

    Raises:
        UserError: The model reads at most one token.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(checkpoint.model)
    # Eager attention needs no special case for rows without tokens; its graph is smaller.
    model.set_attn_implementation("eager")
    onnx.save(export(model), folder / FULL)
    onnx.save(quantize_matrices(folder / FULL), folder / QUANTIZED)
    smallest = onnx.load(folder / QUANTIZED)
    quantize_table(smallest)
    onnx.save(smallest, folder / SMALLEST)
    if not isinstance(model, AsteriskForSequenceClassification):
        for layers in model.config.exit_layers or ():
            write_exit(model.truncated(layers), folder / exit_file(layers))
    if compact:
        full = onnx.load(folder / FULL)
        quantize_table(full)
        store_in_half(full)
        onnx.save(full, folder / FULL)
        (folder / QUANTIZED).unlink()
        return
    # Export in half precision instead of converting: the model pools in float32, because sums and norms overflow.
    onnx.save(export(model.half()), folder / HALF)


def write_exit(model: AsteriskModel, file: Path) -> None:
    """Write a model in the smallest form: int8, with an int8 token table."""
    model.set_attn_implementation("eager")
    onnx.save(export(model), file)
    smallest = quantize_matrices(file)
    quantize_table(smallest)
    onnx.save(smallest, file)


def export(model: AsteriskModel | AsteriskForSequenceClassification) -> ModelProto:
    """Return the model as an ONNX graph for any batch size and any length that its positions allow.

    Raises:
        UserError: The model reads at most one token.
    """
    limit = model.config.max_position_embeddings if model.config.position_encoding == "learned" else None
    if limit is not None and limit < 2:
        raise UserError("The model reads at most one token; an ONNX file needs a longer maximum length.")
    shape = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=limit)}
    # The exporter would treat a size of one as fixed. The second row has padding.
    input_ids = torch.zeros(2, min(3, limit or 3), dtype=torch.int64)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, -1] = 0
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Outputs(model),
            (input_ids, attention_mask),
            input_names=list(INPUTS),
            output_names=[LOGITS] if isinstance(model, AsteriskForSequenceClassification) else [TOKENS, EMBEDDING],
            dynamic_shapes=dict.fromkeys(INPUTS, shape),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return without_repeated_shapes(program.model_proto)


def without_repeated_shapes(proto: ModelProto) -> ModelProto:
    """Remove the shapes that repeat those of the weights.

    onnxruntime's quantisation transposes some weights and then finds that the two shapes differ.
    """
    weights = {each.name for each in proto.graph.initializer}
    _replace(proto.graph.value_info, [each for each in proto.graph.value_info if each.name not in weights])
    return proto


def quantize_matrices(file: Path) -> ModelProto:
    """Return the graph with the weights of its matrix products in int8 and dynamically quantised activations.

    Weights use 7 bits, because with 8 bits, the 16-bit sums of processors without VNNI overflow. The first layer's
    attention, the last layer's second product, the projection and a classifier's head stay in floating point, because
    quantising them would cause most of the loss; in a model of one layer, only the first product stays. The weights of
    these products and the positions are stored in half precision.
    """
    from onnxruntime.quantization import quantize_dynamic

    model = with_plain_products(onnx.load(file))
    weights = {each.name for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    pooled = {node.input[1] for node in products if node.name.endswith(GEMM)}
    layers = [node for node in products if node.input[1] not in pooled]
    after = [node for node in products if node.input[1] in pooled]
    first, last = (FIRST_PRODUCTS, LAST_PRODUCTS) if len(layers) > 4 else (FIRST_OF_ONE, LAST_OF_ONE)
    exact = [*layers[:first], *layers[len(layers) - last :], *after]
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        target = Path(scratch) / file.name
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=[node.name for node in exact],
        )
        quantized = onnx.load(target)
    store_in_half(quantized)
    return quantized


def store_in_half(model: ModelProto) -> None:
    """Store float32 matrices in float16, except the token table; onnxruntime converts them back when it loads them."""
    graph, table = model.graph, _token_lookup(model).input[0]
    casts = []
    matrices = [each for each in graph.initializer if each.data_type == TensorProto.FLOAT and len(each.dims) == 2]
    for weight in [each for each in matrices if each.name != table]:
        _store_in_half(graph, weight, f"{weight.name}_half")
        casts.append(helper.make_node("Cast", [f"{weight.name}_half"], [weight.name], to=TensorProto.FLOAT))
    _replace(graph.node, [*casts, *graph.node])
    onnx.checker.check_model(model)


def _store_in_half(graph: Any, weight: TensorProto, name: str) -> None:
    graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), name))
    graph.initializer.remove(weight)


def with_plain_products(proto: ModelProto) -> ModelProto:
    """Return the graph with MatMul and Add instead of Gemm, and with transposed weights instead of Transpose nodes.

    onnxruntime's quantisation also replaces each Gemm, but transposes its weight in place, "assuming it is not used by
    any other node". The projection's weight has two users: a Gemm for pooled vectors and a Transpose for token
    vectors. Here both read one transposed weight.
    """
    graph = proto.graph
    weights = {each.name: each for each in graph.initializer}
    turned: dict[str, str] = {}

    def transposed(name: str) -> str:
        if name not in turned:
            turned[name] = f"{name}_transposed"
            values = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
            graph.initializer.append(numpy_helper.from_array(values, turned[name]))
        return turned[name]

    nodes = []
    renamed = {}
    for node in graph.node:
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == "Transpose" and node.input[0] in weights and list(settings.get("perm", [1, 0])) == [1, 0]:
            renamed[node.output[0]] = transposed(node.input[0])
        elif node.op_type == "Gemm" and node.input[1] in weights and settings.get("transB"):
            name, bias = f"{node.name}{GEMM}", [each for each in node.input[2:] if each]
            product = name if bias else node.output[0]
            nodes.append(helper.make_node("MatMul", [node.input[0], transposed(node.input[1])], [product], name))
            if bias:
                nodes.append(helper.make_node("Add", [product, *bias], [node.output[0]], node.name))
        else:
            nodes.append(node)
    for node in nodes:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    _replace(graph.node, nodes)
    used = {name for node in nodes for name in node.input}
    _replace(graph.initializer, [each for each in graph.initializer if each.name in used])
    return proto


def quantize_table(model: ModelProto) -> None:
    """Replace the token table by int8 rows, with one scale per row."""
    graph = model.graph
    lookup = _token_lookup(model)
    weight = next(each for each in graph.initializer if each.name == lookup.input[0])
    rows = numpy_helper.to_array(weight)
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    graph.initializer.remove(weight)
    graph.initializer.append(numpy_helper.from_array(np.rint(rows / scale).astype(np.int8), "table"))
    graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), "table_scale"))
    nodes = [
        helper.make_node("Gather", ["table", INPUTS[0]], ["token_rows"]),
        helper.make_node("Cast", ["token_rows"], ["token_rows_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table_scale", INPUTS[0]], ["token_scales"]),
        helper.make_node("Mul", ["token_rows_float", "token_scales"], [lookup.output[0]]),
    ]
    position = list(graph.node).index(lookup)
    _replace(graph.node, [*graph.node[:position], *nodes, *graph.node[position + 1 :]])
    onnx.checker.check_model(model)


def _token_lookup(model: ModelProto) -> NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Gather" and node.input[1] == INPUTS[0])


def _replace(repeated: Any, items: Iterable[Any]) -> None:
    """Replace the items of a repeated protobuf field."""
    kept = list(items)
    del repeated[:]
    repeated.extend(kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of the exporter and of onnxruntime."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
