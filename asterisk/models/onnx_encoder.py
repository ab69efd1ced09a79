"""models.onnx_encoder"""

from pathlib import Path

import numpy as np

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import weight_files


def is_onnx_file(spec: str) -> bool:
    return spec.endswith(".onnx") and Path(spec).expanduser().is_file()


def onnx_file_of(path: Path) -> Path | None:
    """The ONNX file that a path names: itself, or `model.onnx` of a folder that holds no other weights."""
    path = path.expanduser()
    if path.is_file():
        return path
    found = path / "model.onnx"
    return found if found.is_file() and not weight_files(path) else None


def load_onnx(file: Path) -> LoadedModel:
    import onnx
    import onnxruntime
    from tokenizers import Tokenizer

    from asterisk.models.onnx import check_ids

    folder = next((each for each in (file.parent, file.parent.parent) if (each / "tokenizer.json").is_file()), None)
    if folder is None:
        raise UserError(f"No tokenizer.json lies beside {file} or in the folder above; put the model's there.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and need not be printed, too
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = {each.name for each in session.get_inputs()}
    outputs = [each.name for each in session.get_outputs()]
    output = next((name for name in ("sentence_embedding", "last_hidden_state") if name in outputs), None)
    if inputs != {"input_ids", "attention_mask"} or output is None:
        raise UserError(
            f"{file} takes {', '.join(sorted(inputs))} and gives {', '.join(outputs)}; it should take input_ids and "
            "attention_mask and give sentence_embedding or last_hidden_state."
        )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        return session.run([output], {"input_ids": input_ids, "attention_mask": attention_mask})[0]

    check_ids(tokenizer, run)
    max_length = _longest(folder)
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        ids = [encoding.ids for encoding in tokenizer.encode_batch([(prompt or "") + text for text in texts])]
        # One position at least: a graph need not know how to embed nothing.
        longest = max(1, *map(len, ids))
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], dtype=np.int64)
        padded = np.array([row + [0] * (longest - len(row)) for row in ids], dtype=np.int64)
        vectors = run(padded, mask)
        if output == "sentence_embedding":
            return vectors
        return (vectors * mask[..., None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1)

    graph = onnx.load(file, load_external_data=False).graph
    return LoadedModel(
        embed,
        settings={"output": output, "max_length": max_length, "tokenizer": file_hash(folder / "tokenizer.json")},
        weights=file_hash(file),
        num_parameters=sum(int(np.prod(weight.dims)) for weight in graph.initializer),
        num_bytes=sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*")),
        max_length=max_length,
    )


def _longest(folder: Path) -> int | None:
    """The longest text in tokens that the files beside a tokenizer tell of."""
    limits = []
    for name, key in (("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings")):
        if (folder / name).is_file() and isinstance(limit := read_json(folder / name).get(key), int):
            limits.append(limit)
    # A tokenizer without a limit of its own reports one far beyond what it can hold.
    return min((limit for limit in limits if limit < 1_000_000), default=None)
