"""Teachers: frozen sentence encoders that turn texts into unit vectors, with a fingerprint that identifies them.

This module imports no torch, because a process that asks an API or reads vectors starts faster without.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from asterisk.core.errors import UserError
from asterisk.teachers.precomputed import PrecomputedTeacher

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMS = "a folder, a Hub id (owner/name), package:NAME, vectors:PATH[#COLUMN] or api:MODEL"


class Teacher(Protocol):
    """The interface of all teachers.

    Attributes:
        name: The teacher as the user names it.
        dimension: The dimension of the vectors.
        precision: The dtype in which the vectors are computed.
        fingerprint: A hash that identifies the weights or vectors.
    """

    name: str
    dimension: int
    precision: str
    fingerprint: str

    @property
    def max_length(self) -> int | None:
        """The maximum text length in tokens, special tokens included; None if unknown."""

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """The teacher's tokenizer; if it is None, `encode_tokens` raises a [`UserError`]."""

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Return unit vectors (number of texts, dimension), float32, and the number of truncated texts."""

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Return unit vectors (number of ids, dimension), float32, of texts that consist of one token."""


def has_tokenizer(spec: str) -> bool:
    """Return whether a `--teacher` has a tokenizer; APIs and precomputed vectors have none."""
    return spec.partition(":")[0] not in ("api", "vectors")


def load_teacher(
    spec: str,
    dtype: str = "auto",
    pooling: str = "mean",
    rank: int | None = None,
    *,
    text_column: str = "text",
    base_url: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    api_batch_size: int | None = None,
) -> Teacher:
    """Load the teacher that `--teacher` names.

    Args:
        spec: A folder, Hub id or `package:NAME` of a model (`SentenceTransformerTeacher`); `vectors:PATH` or
            `vectors:PATH#COLUMN` ([`PrecomputedTeacher`]); or `api:MODEL` (`EmbeddingsAPITeacher`).
        dtype: Precision of a model: "float32", "bfloat16" or "auto".
        pooling: Pooling of a model whose files name none: "mean", "cls", "max" or "lasttoken".
        rank: The number of the process, of several on a machine: it takes the GPU of this number, modulo the GPUs.
            By default, a model takes the best device available.
        text_column: The column of the texts beside precomputed vectors.
        base_url: The URL of an API, without `/embeddings`; by default OpenAI's.
        key_variable: The environment variable that holds the key of an API.
        api_batch_size: Maximum number of texts per request to an API; by default 128.

    Raises:
        UserError: The spec has none of these forms, or the teacher cannot be loaded.
    """
    kind, colon, value = spec.partition(":")
    if kind == "api" and value:
        try:
            from asterisk.teachers.api import BATCH_SIZE, EmbeddingsAPITeacher
        except ImportError:
            raise UserError(f"The teacher {spec} needs the openai package: pip install '.[api]'.") from None
        batch_size = BATCH_SIZE if api_batch_size is None else api_batch_size
        return EmbeddingsAPITeacher(value, base_url, key_variable, batch_size=batch_size)
    if base_url is not None or api_batch_size is not None:
        raise UserError(f"A base URL and a batch size are for a teacher api:MODEL, not for {spec}.")
    path, _, column = value.partition("#")
    if kind == "vectors" and path:
        return PrecomputedTeacher(path, column or "embedding", text_column)
    if not spec or (colon and not (kind == "package" and value) and not Path(spec).expanduser().is_dir()):
        raise UserError(f"There is no teacher {spec!r}; give {FORMS}.")
    import torch

    from asterisk.teachers.encoder import SentenceTransformerTeacher

    gpus = torch.cuda.device_count() if rank is not None else 0
    return SentenceTransformerTeacher(
        spec, dtype, pooling, f"cuda:{rank % gpus}" if rank is not None and gpus else None
    )
