"""The model as ONNX files: float32, float16, int8, and int8 with its token table in int8 too.

Every file is whole by itself, takes `input_ids` and `attention_mask` (batch, length), int64, and gives
`last_hidden_state` (batch, length, dimensions) and the unit-norm `sentence_embedding` (batch, dimensions), or, of a
classifier, `logits` (batch, labels); all float32. Browsers look for these names: transformers.js takes `fp32`, `fp16`,
`q8` and `int8` for its `dtype`.
"""

import contextlib
import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from asterisk.core.errors import UserError
from asterisk.publishing.checkpoint import Checkpoint
from modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel

# The layers' matrix products that are not quantised: at the beginning queries, keys and values, and the output, of the
# first layer's attention; at the end the last layer's second, whose inputs are the most uneven.
FIRST_PRODUCTS, LAST_PRODUCTS = 2, 1
# Ends the names of the products that were Gemms: those of pooled vectors.
GEMM = "_product"

FULL, HALF, QUANTIZED, SMALLEST = "model.onnx", "model_fp16.onnx", "model_quantized.onnx", "model_int8.onnx"

INPUTS = ("input_ids", "attention_mask")
TOKENS, EMBEDDING, LOGITS = "last_hidden_state", "sentence_embedding", "logits"


class _Outputs(torch.nn.Module):
    """The model with plain tensors in and out."""

    def __init__(self, model: AsteriskModel | AsteriskForSequenceClassification):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if isinstance(self.model, AsteriskForSequenceClassification):
            return (outputs.logits.float(),)
        return outputs.last_hidden_state.float(), outputs.pooler_output.float()


def write_onnx_files(checkpoint: Checkpoint, folder: Path, smallest_only: bool = False) -> None:
    """Writes the four files, or only the smallest, into the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(checkpoint.model)
    # Eager attention has no special case for rows without tokens: the smaller graph.
    model.set_attn_implementation("eager")
    onnx.save(export(model), folder / FULL)
    onnx.save(quantize_matrices(folder / FULL), folder / QUANTIZED)
    smallest = onnx.load(folder / QUANTIZED)
    quantize_table(smallest, (checkpoint.config.vocab_size, checkpoint.config.hidden_size))
    onnx.save(smallest, folder / SMALLEST)
    if smallest_only:
        (folder / FULL).unlink()
        (folder / QUANTIZED).unlink()
        return
    # Exported in half precision, not converted: the model itself pools in float32, since sums and norms overflow.
    onnx.save(export(model.half()), folder / HALF)


def export(model: AsteriskModel | AsteriskForSequenceClassification) -> ModelProto:
    """The model as an ONNX graph, of any batch and of any length that its positions allow."""
    limit = model.config.max_position_embeddings if model.config.position_encoding == "learned" else None
    if limit is not None and limit < 2:
        raise UserError("The model reads one token at most; ONNX files are for longer texts.")
    shape = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=limit)}
    # An example of neither one row nor one token, which the exporter would take for fixed; the second row is padded.
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
    """The graph, each weight's shape told once.

    PyTorch's exporter tells them twice; onnxruntime, which transposes some, then finds that they differ.
    """
    weights = {each.name for each in proto.graph.initializer}
    shapes = [each for each in proto.graph.value_info if each.name not in weights]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(shapes)
    return proto


def quantize_matrices(file: Path) -> ModelProto:
    """The graph with the weights of its matrix products in int8, the activations quantised as they come.

    Of 7 bits, since the 16-bit sums of processors without VNNI overflow with 8. The first layer's attention and the
    last layer's second product stay in floating point, and so does what comes after the layers, the projection and a
    classifier's head: most of what int8 loses would be lost there. Their weights, and the positions, are kept in half
    precision.
    """
    from onnxruntime.quantization import quantize_dynamic

    model = with_plain_products(onnx.load(file))
    weights = {each.name for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    pooled = {node.input[1] for node in products if node.name.endswith(GEMM)}
    layers = [node for node in products if node.input[1] not in pooled]
    after = [node for node in products if node.input[1] in pooled]
    exact = [*layers[:FIRST_PRODUCTS], *layers[len(layers) - LAST_PRODUCTS :], *after]
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
    tokens = next(
        node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[1] == INPUTS[0]
    )
    store_in_half(quantized, but=tokens)
    return quantized


def store_in_half(model: ModelProto, but: str) -> None:
    """Keeps the tables that are in float32 in float16; onnxruntime turns them back when it loads them."""
    graph = model.graph
    casts = []
    tables = [each for each in graph.initializer if each.data_type == TensorProto.FLOAT and len(each.dims) == 2]
    for weight in [each for each in tables if each.name != but]:
        halved = numpy_helper.to_array(weight).astype(np.float16)
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(halved, f"{weight.name}_half"))
        casts.append(helper.make_node("Cast", [f"{weight.name}_half"], [weight.name], to=TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])
    onnx.checker.check_model(model)


def with_plain_products(proto: ModelProto) -> ModelProto:
    """The graph with a MatMul and an Add in place of each Gemm, and weights in place of transpositions of weights.

    onnxruntime does the first when it quantises, and transposes the Gemm's weight where it is, "assuming it is not
    used by any other node". The projection's is: of pooled vectors by a Gemm, of token vectors transposed. Here both
    read the same transposed weight.
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
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return proto


def quantize_table(model: ModelProto, shape: tuple[int, ...]) -> None:
    """Replaces the token table, the weight of this shape that token ids look up in, by int8 rows and a scale each."""
    graph = model.graph
    tables = {each.name for each in graph.initializer if tuple(each.dims) == shape}
    lookup = next(
        node
        for node in graph.node
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] == INPUTS[0]
    )
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
    rest = [*graph.node[:position], *nodes, *graph.node[position + 1 :]]
    del graph.node[:]
    graph.node.extend(rest)
    onnx.checker.check_model(model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter from telling of operators that nobody asked for, and onnxruntime from giving advice."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
