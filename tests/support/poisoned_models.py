"""Malicious models: how each is made from a valid one, and the message that refuses it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file, save_file

from tests.support.poisoned_files import DEEP, Change, write

WEIGHTS, TABLE = "model.safetensors", "embeddings.embed_tokens.weight"


def change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def make(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return make


def put_number(value: float) -> Change:
    """Write a number into a row of the token table that few texts need."""
    return change_weights(lambda weights: weights[TABLE][3].fill_(value))


def change_json(name: str, **fields: object) -> Change:
    def make(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | fields))

    return make


def only_a_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def far_token(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["goal"] = 1_000_000
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def cut(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def weights_elsewhere(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "other.safetensors")
    names = dict.fromkeys(load_file(folder.parent / "other.safetensors"), "../other.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def config(**fields: object) -> Change:
    return change_json("config.json", **fields)


def shrink_table(weights: dict[str, torch.Tensor]) -> None:
    weights[TABLE] = weights[TABLE][:5].clone()


# Changes of a valid model, with the message at every place that loads it.
MODELS: list[tuple[str, Change, str]] = [
    ("a weight too many", change_weights(lambda w: w.update(evil=torch.zeros(2))), "are unknown: evil"),
    ("a weight too few", change_weights(lambda w: w.pop("norm.weight")), "norm.weight"),
    ("a weight of another shape", change_weights(lambda w: w.update({"norm.weight": torch.ones(3)})), "(3,)"),
    ("a smaller token table", change_weights(shrink_table), "(5, 16)"),
    ("a weight that is not a number", put_number(float("nan")), "are not finite"),
    ("an infinite weight", put_number(float("inf")), "are not finite"),
    ("a pickle instead of safetensors", only_a_pickle, "no file named model.safetensors"),
    ("weights that were cut off", cut(WEIGHTS), ""),
    ("weights with a header of 2^62 bytes", write(WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"), "header"),
    ("a vocabulary of 10^12", config(vocab_size=10**12), "vocab_size must be at most 100,000,000"),
    ("a table of 10^14 numbers", config(vocab_size=10**8, hidden_size=10**6), "there must be at most 1,000,000,000"),
    ("10^9 layers", config(num_hidden_layers=10**9), "num_hidden_layers must be at most 1,000"),
    ("layers of 10^12 numbers", config(num_hidden_layers=999, hidden_size=10**5), "at most 1,000,000,000"),
    ("10^9 labels", config(num_labels=10**9), "num_labels must be at most 1,000,000"),
    ("a size that is text", config(hidden_size="16"), "hidden_size must be a whole number"),
    ("a configuration nested 10^5 deep", write("config.json", DEEP), "recursion"),
    ("a token beyond the table", far_token, "1000000"),
    ("a tokenizer that was cut off", cut("tokenizer.json"), ""),
]


def add_onnx(folder: Path) -> None:
    """An ONNX file whose table has five rows, beside a tokenizer of many more tokens."""
    table = onnx.numpy_helper.from_array(np.eye(5, 4, dtype=np.float32), "table")
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        onnx.helper.make_node("Cast", ["attention_mask"], ["mask"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Einsum", ["rows", "mask"], ["sentence_embedding"], equation="btd,bt->bd"),
    ]
    take = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    give = [onnx.helper.make_tensor_value_info("sentence_embedding", onnx.TensorProto.FLOAT, ["batch", 4])]
    graph = onnx.helper.make_graph(nodes, "model", take, give, [table])
    (folder / "onnx").mkdir()
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "onnx" / "model.onnx")


CLASSIFIER = ["AsteriskForSequenceClassification"]
