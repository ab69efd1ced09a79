"""Load an ONNX or OpenVINO file as an encoder."""

from pathlib import Path

import numpy as np
import onnx

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.models.encoder import LoadedModel
from asterisk.models.onnx import OnnxEmbedder


def onnx_encoder(file: Path) -> LoadedModel:
    """Load an ONNX or OpenVINO file for a [`asterisk.models.encoder.TextEncoder`]; it must give embeddings."""
    try:
        embedder = OnnxEmbedder(file, pool_tokens=True)
    except ValueError as error:
        raise UserError(str(error)) from error

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return embedder.embed(embedder.token_ids([(prompt or "") + text for text in texts]), batch_size=batch_size)

    # The weights lie beside an .xml file of OpenVINO, and may lie beside an ONNX file.
    weights = file.with_suffix(".bin") if file.suffix == ".xml" else file
    tokenizer = file_hash(embedder.tokenizer_file)
    return LoadedModel(
        embed,
        settings={"output": embedder.output, "max_length": embedder.max_length, "tokenizer": tokenizer},
        weights=file_hash(weights),
        num_parameters=_num_parameters(file),
        num_bytes=sum(part.stat().st_size for part in {file, *file.parent.glob(f"{weights.name}*")}),
        max_length=embedder.max_length,
    )


def _num_parameters(file: Path) -> int:
    if file.suffix == ".xml":
        from openvino import Core

        constants = (node for node in Core().read_model(file).get_ops() if node.get_type_name() == "Constant")
        return sum(int(np.prod(list(node.shape))) for node in constants)
    return sum(int(np.prod(weight.dims)) for weight in onnx.load(file, load_external_data=False).graph.initializer)
