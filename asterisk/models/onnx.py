"""Texts → unit vectors through an ONNX file of a published folder, with onnxruntime and tokenizers alone.

Imports nothing of Asterisk's, nor torch or transformers: what serves a model is to be small.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from asterisk.core.vectors import unit

OUTPUT = "sentence_embedding"


# Tokens of one forward pass, padding included: few enough to stay in a processor's caches.
PASS_TOKENS = 2_048


# The files of a published folder, the most exact first.
ONNX_FORMS = ("model", "model_fp16", "model_quantized", "model_int8")


# A tokenizer without a limit of its own reports one far beyond what any model reads.
UNLIMITED = 1_000_000


class OnnxEmbedder:
    """The embedding model of one ONNX file, on the CPU; the same vectors as `AsteriskModel.encode`."""

    def __init__(self, file: Path, threads: int = 0):
        """Loads the file, and the tokenizer of the folder above.

        Args:
            file: `FOLDER/onnx/NAME.onnx`, as publish.py writes it.
            threads: That compute, each a forward pass of its own; 0: as many as the processor has.

        Raises:
            ValueError: The file cannot be loaded, or gives no sentence embeddings.
        """
        options = onnxruntime.SessionOptions()
        # Passes run side by side instead: the matrices of a small model are too small to be shared out.
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, and need not be printed, too
        self._threads = threads or os.cpu_count() or 1
        try:
            # Adding and normalising in one is slower than one after the other, by ten times on an x86 processor.
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
            )
            self._tokenizer = _tokenizer(file.parent.parent)
        except Exception as error:  # of many kinds, the libraries' own
            raise ValueError(f"{file} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        outputs = {each.name: each for each in self._session.get_outputs()}
        if OUTPUT not in outputs:
            kind = "a classifier" if "logits" in outputs else f"a model that gives {', '.join(outputs)}"
            raise ValueError(f"{file} is {kind}; give the folder of an embedding model, which gives {OUTPUT}.")
        try:
            check_ids(self._tokenizer, self._run)
        except ValueError as error:
            raise ValueError(f"{file} cannot be used: {error}.") from error
        self.dimensions = self.embed(self.token_ids(["a"])).shape[1]

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The tokens that the model reads of each text: what lies beyond its longest text is cut off."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def embed(self, token_ids: list[list[int]], pass_tokens: int = PASS_TOKENS) -> np.ndarray:
        """Unit vectors (number of texts, dimensions), float32, in the order given; zeros of a text without tokens."""
        order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]), reverse=True)
        passes = []
        start = 0
        while start < len(order):
            chosen = order[start : start + max(1, pass_tokens // max(1, len(token_ids[order[start]])))]
            passes.append([token_ids[index] for index in chosen])
            start += len(chosen)
        if len(passes) == 1:
            sorted_vectors = self._forward(passes[0])
        else:
            with ThreadPoolExecutor(min(self._threads, len(passes))) as pool:
                sorted_vectors = np.concatenate(list(pool.map(self._forward, passes)))
        vectors = np.empty_like(sorted_vectors)
        vectors[order] = sorted_vectors
        # The file in half precision is that exact only.
        return unit(vectors)

    def _forward(self, token_ids: list[list[int]]) -> np.ndarray:
        # One position at least: a graph need not know how to embed nothing.
        lengths = np.array([len(ids) for ids in token_ids])
        mask = np.arange(max(1, lengths[0])) < lengths[:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        padded[mask] = np.fromiter(chain.from_iterable(token_ids), dtype=np.int64)
        return self._run(padded, mask.astype(np.int64))

    def _run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        return self._session.run([OUTPUT], {"input_ids": input_ids, "attention_mask": attention_mask})[0]


def onnx_file(folder: Path, form: str) -> Path:
    """The file of a published folder that `form` names, with or without its `.onnx`; "" takes the most exact.

    Raises:
        ValueError: There is no such folder, it was not published, or it has no such file.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}; give one that publish.py made.")
    forms = {each.stem: each for each in sorted((folder / "onnx").glob("*.onnx"))}
    if not forms:
        raise ValueError(f"{folder} has no ONNX files in onnx/; give a folder that publish.py made.")
    name = form.removesuffix(".onnx") or next((each for each in ONNX_FORMS if each in forms), next(iter(forms)))
    if name not in forms:
        raise ValueError(f"{folder} has no onnx/{name}.onnx; there are {', '.join(forms)}.")
    return forms[name]


def check_ids(tokenizer: Tokenizer, run: Callable[[np.ndarray, np.ndarray], object]) -> None:
    """Raises a ValueError if a token has no row in the table of the model that `run` gives ids and mask."""
    largest = max(tokenizer.get_vocab().values(), default=0)
    try:
        run(np.array([[largest]], np.int64), np.array([[1]], np.int64))
    except Exception as error:  # onnxruntime's own
        raise ValueError(f"tokenizer.json has a token of id {largest}, which the token table lacks") from error


def _tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, which truncates as the model does and does not pad."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer.no_padding()
    limit = settings.get("model_max_length", UNLIMITED)
    if limit < UNLIMITED:
        tokenizer.enable_truncation(limit, direction=settings.get("truncation_side", "right"))
    else:
        tokenizer.no_truncation()
    return tokenizer
