"""Convert the ONNX file to OpenVINO's format, and quantise it with NNCF.

The files have the names that sentence-transformers expects.
"""

import logging
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.readers import files_of, read_texts
from asterisk.models.onnx import load_tokenizer

FULL, QUANTIZED = "openvino_model.xml", "openvino_model_qint8_quantized.xml"

# The number of texts on which NNCF measures the range of each activation; its default.
CALIBRATION_TEXTS = 300


def calibration_texts(sources: Sequence[str]) -> list[str]:
    """Read the texts on which a model is quantised, evenly from all of `sources`.

    Raises:
        UserError: OpenVINO or NNCF is not installed, or a source cannot be read or holds no text.
    """
    try:
        import nncf  # noqa: F401
        import openvino  # noqa: F401
    except ImportError as error:
        raise UserError("--openvino needs openvino and nncf; pip install '.[openvino]' installs them.") from error
    files = [file for source in sources for file in files_of(source)]
    share = math.ceil(CALIBRATION_TEXTS / len(files))
    texts = [text for file in files for text in islice(filter(None, read_texts(file, "text")), share)]
    if not texts:
        raise UserError(f"{', '.join(sources)} hold no texts on which the model can be quantised.")
    return texts


def write_openvino_files(file: Path, folder: Path, texts: Sequence[str]) -> None:
    """Create the folder with two forms of the model: with float16 weights, and in int8.

    Args:
        file: The ONNX file in float32, with its tokenizer in the folder above.
        folder: The folder to create.
        texts: Texts like those that the model will read, on which it is quantised.
    """
    import nncf
    import openvino

    folder.mkdir()
    # OpenVINO nevertheless computes in float32.
    openvino.save_model(openvino.convert_model(file), folder / FULL, compress_to_fp16=True)
    nncf.set_log_level(logging.ERROR)
    tokenizer = load_tokenizer(file.parents[1])

    def inputs(text: str) -> dict[str, np.ndarray]:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    quantized = nncf.quantize(
        openvino.convert_model(file),
        nncf.Dataset(texts, inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION_TEXTS,
        # Use 7-bit weights, because with 8 bits, the 16-bit sums of processors without VNNI overflow.
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    openvino.save_model(quantized, folder / QUANTIZED, compress_to_fp16=True)
