"""Text embeddings from an ONNX or OpenVINO file.

This module imports the file's engine and tokenizers, but neither torch nor transformers, so that a server stays small.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from asterisk.core.errors import one_line
from asterisk.core.vectors import unit
from asterisk.models.openvino import OpenVinoSession
from asterisk.models.passes import CPU_PASS_TOKENS, pad_token_ids, passes_by_length

SENTENCE, TOKENS = "sentence_embedding", "last_hidden_state"
INPUTS = {"input_ids", "attention_mask"}

# The ONNX files of a published folder, the most exact first.
ONNX_FORMS = ("model", "model_fp16", "model_quantized", "model_int8")
# The name of an exit's file, with the number of layers before the exit.
EXIT = "model_layers_{}_int8"
# The files of each engine in a published folder.
FILES = ("onnx/*.onnx", "openvino/*.xml")

# A tokenizer without a limit reports a huge one.
UNLIMITED = 1_000_000


class OnnxSession:
    """An ONNX file in onnxruntime, with the interface of [`asterisk.models.openvino.OpenVinoSession`]."""

    def __init__(self, file: Path):
        """Load the file; onnxruntime raises many kinds of errors."""
        options = onnxruntime.SessionOptions()
        # Forward passes run in parallel, since a small model's matrices are too small to split.
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, not printed
        # The fused layer norm is up to ten times slower than its parts on an x86 processor.
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
        self.inputs = {node.name for node in self._session.get_inputs()}
        self.outputs = [node.name for node in self._session.get_outputs()]

    def run(self, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Compute one output of a forward pass; see `run` of [`asterisk.models.openvino.OpenVinoSession`]."""
        return self._session.run([output], inputs)[0]


class OnnxEmbedder:
    """The embedding model in one file, on the CPU; it returns the same vectors as `AsteriskModel.encode`."""

    def __init__(self, file: Path, threads: int = 0, pool_tokens: bool = False):
        """Load the file and its tokenizer.

        Args:
            file: An ONNX file, or an .xml file of OpenVINO, with a tokenizer.json beside it or in the folder above.
            threads: The number of threads, each of which computes whole forward passes; 0 means all cores.
            pool_tokens: Accept a graph that returns only token vectors, and take their mean.

        Raises:
            ValueError: The file or its tokenizer cannot be loaded, or the graph returns no embeddings.
        """
        self._threads = threads or os.cpu_count() or 1
        folder = next((parent for parent in file.parents[:2] if (parent / "tokenizer.json").is_file()), None)
        if folder is None:
            raise ValueError(
                f"There is no tokenizer.json beside {file} or in the folder above; put the model's there."
            )
        try:
            self._session = OpenVinoSession(file, self._threads) if file.suffix == ".xml" else OnnxSession(file)
            self._tokenizer = load_tokenizer(folder)
            self.max_length = (self._tokenizer.truncation or {}).get("max_length")
        except Exception as error:  # the libraries raise many kinds
            raise ValueError(f"{file} cannot be loaded: {one_line(error)}") from error
        self.tokenizer_file = folder / "tokenizer.json"
        self.output = self._check_graph(file, [SENTENCE, TOKENS] if pool_tokens else [SENTENCE])
        self._check_token_ids(file)
        self.dimensions = self.embed(self.token_ids(["a"])).shape[1]

    def _check_graph(self, file: Path, wanted: list[str]) -> str:
        """Check the graph's inputs and outputs, and return the output to read."""
        inputs, outputs = self._session.inputs, self._session.outputs
        output = next((name for name in wanted if name in outputs), None)
        if output is None or inputs != INPUTS:
            kind = "a classifier" if "logits" in outputs else f"a model that gives {', '.join(outputs)}"
            raise ValueError(
                f"{file} is {kind} and takes {', '.join(sorted(inputs))}; an embedding model "
                f"should take input_ids and attention_mask and give {' or '.join(wanted)}."
            )
        return output

    def _check_token_ids(self, file: Path) -> None:
        largest = max(self._tokenizer.get_vocab().values(), default=0)
        try:
            self._forward([[largest]])
        except Exception as error:  # the engines raise many kinds
            raise ValueError(
                f"{file} cannot be used: tokenizer.json has a token of id {largest}, which the embedding table lacks."
            ) from error

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, truncated to the model's maximum length."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def embed(
        self, token_ids: list[list[int]], pass_tokens: int = CPU_PASS_TOKENS, batch_size: int | None = None
    ) -> np.ndarray:
        """Embed tokenised texts.

        Args:
            token_ids: The token ids of each text; at least one text.
            pass_tokens: Maximum number of tokens in a forward pass, padding included.
            batch_size: Maximum number of texts in a forward pass; unlimited by default.

        Returns:
            Unit vectors (number of texts, dimensions), float32; zeros for a text without tokens.
        """
        passes = list(passes_by_length([len(ids) for ids in token_ids], pass_tokens, batch_size))
        batches = [[token_ids[row] for row in rows] for rows in passes]
        if len(batches) == 1:
            parts = [self._forward(batches[0])]
        else:
            with ThreadPoolExecutor(min(self._threads, len(batches))) as pool:
                parts = list(pool.map(self._forward, batches))
        sorted_vectors = np.concatenate(parts)
        vectors = np.empty_like(sorted_vectors)
        vectors[list(chain.from_iterable(passes))] = sorted_vectors
        # A half-precision model gives vectors that are only roughly of unit length.
        return unit(vectors)

    def _forward(self, token_ids: list[list[int]]) -> np.ndarray:
        """Embed one pass."""
        padded, mask = pad_token_ids(token_ids)
        vectors = self._session.run(self.output, {"input_ids": padded, "attention_mask": mask})
        if self.output == SENTENCE:
            return vectors
        weights = mask[..., None].astype(vectors.dtype)
        return (vectors * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)


def exit_file(layers: int) -> str:
    """Return the file name of the exit after this many layers."""
    return f"{EXIT.format(layers)}.onnx"


def onnx_file(folder: Path, form: str = "", layers: int | None = None) -> Path:
    """Return a file of a published folder, for [`OnnxEmbedder`].

    Args:
        folder: A folder that publish.py wrote.
        form: The file's name, with or without its suffix; "" means the most exact ONNX file.
        layers: The depth of an exit, which has one file; it overrides `form`.

    Raises:
        ValueError: The folder is missing, was not published, or has no such file.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}; give one that publish.py made.")
    forms = {file.stem: file for pattern in FILES for file in sorted(folder.glob(pattern))}
    if not forms:
        raise ValueError(f"{folder} has no ONNX files in onnx/; give a folder that publish.py made.")
    if layers is not None and layers != _read(folder / "config.json").get("num_hidden_layers"):
        form = EXIT.format(layers)
    name = Path(form).stem or next((known for known in ONNX_FORMS if known in forms), next(iter(forms)))
    if name not in forms:
        raise ValueError(f"{folder} has no model file {name}; it has {', '.join(forms)}.")
    return forms[name]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load a folder's tokenizer, which truncates as the model does and does not pad."""
    max_length = _max_length(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    if max_length is None:
        tokenizer.no_truncation()
    else:
        side = _read(folder / "tokenizer_config.json").get("truncation_side", "right")
        tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer


def _max_length(folder: Path) -> int | None:
    """Read the longest input in tokens from the files beside the tokenizer; None means no limit."""
    config = _read(folder / "config.json")
    limits = [_read(folder / "tokenizer_config.json").get("model_max_length")]
    if config.get("position_encoding") != "none":
        limits.append(config.get("max_position_embeddings"))
    return min((limit for limit in limits if isinstance(limit, int) and limit < UNLIMITED), default=None)


def _read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
