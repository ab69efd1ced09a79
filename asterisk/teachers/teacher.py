"""Teachers: frozen sentence encoders that turn texts into unit vectors, with a fingerprint that identifies them.

This module does not import torch, so that a process that calls an API or reads vectors starts faster.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.processes import this_process
from asterisk.teachers.arguments import TeacherArguments
from asterisk.teachers.precomputed import PrecomputedTeacher
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.store import read_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMS = "a folder, a Hub id (owner/name), package:NAME, vectors:PATH[#COLUMN] or api:MODEL"


class Teacher(Protocol):
    """The interface of all teachers.

    `name` is the teacher as the user names it, `dimension` the width of its vectors, `precision` the dtype in which
    they are computed, and `fingerprint` a hash that identifies the weights or vectors.
    """

    name: str
    dimension: int
    precision: str
    fingerprint: str

    @property
    def max_length(self) -> int | None:
        """The maximum length of a text in tokens, special tokens included; None if unknown."""

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """The teacher's tokenizer; if it is None, `encode_tokens` raises a [`UserError`]."""

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Return unit vectors (number of texts, dimension), float32, and the number of truncated texts."""

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Return unit vectors (number of ids, dimension), float32, of texts that consist of one token."""


def has_tokenizer(spec: str) -> bool:
    """Return whether the teacher that `spec` names has a tokenizer; APIs and precomputed vectors have none."""
    return spec.partition(":")[0] not in ("api", "vectors")


def load_teacher(
    arguments: TeacherArguments, text_column: str = "text", store: Path | str | None = None, rank: int | None = None
) -> Teacher:
    """Load the teacher that `--teacher` names; every process of a run must call this function.

    Args:
        arguments: `teacher` is a folder, Hub id or `package:NAME` of a model (`SentenceTransformerTeacher`),
            `vectors:PATH[#COLUMN]` ([`PrecomputedTeacher`]) or `api:MODEL` (`EmbeddingsAPITeacher`).
        text_column: The column of the texts beside precomputed vectors.
        store: The path or URL of the store. If it records a precision, "auto" means that precision.
        rank: The number of this process among several on a machine. It selects a GPU, modulo the number of GPUs. By
            default, the best device available is used.

    Raises:
        UserError: The teacher has none of these forms, or cannot be loaded.
    """
    spec = arguments.teacher
    kind, colon, value = spec.partition(":")
    if kind == "api" and value:
        try:
            from asterisk.teachers.api import BATCH_SIZE, EmbeddingsAPITeacher
        except ImportError:
            raise UserError(f"The teacher {spec} needs the openai package: pip install '.[api]'.") from None
        batch_size = arguments.api_batch_size or BATCH_SIZE
        return EmbeddingsAPITeacher(value, arguments.base_url or None, arguments.key_variable, batch_size=batch_size)
    if arguments.base_url or arguments.api_batch_size:
        raise UserError(f"--base_url and --api_batch_size need a teacher api:MODEL, not {spec}.")
    path, _, column = value.partition("#")
    if kind == "vectors" and path:
        return PrecomputedTeacher(path, column or "embedding", text_column)
    if not spec or (colon and not (kind == "package" and value) and not Path(spec).expanduser().is_dir()):
        raise UserError(f"There is no teacher {spec!r}; give {FORMS}.")
    import torch

    from asterisk.teachers.encoder import SentenceTransformerTeacher

    gpus = torch.cuda.device_count() if rank is not None else 0
    device = f"cuda:{rank % gpus}" if rank is not None and gpus else None
    dtype = _automatic_precision(store, device) if arguments.teacher_dtype == "auto" else arguments.teacher_dtype
    return SentenceTransformerTeacher(spec, dtype, arguments.teacher_pooling, device)


def _automatic_precision(store: Path | str | None, device: str | None) -> str:
    """Return the precision that the store records, or the faster one; all processes of a run get the same."""
    from accelerate.utils import broadcast_object_list

    from asterisk.models.precision import dtype_name, resolve_dtype

    chosen = None
    if this_process().is_main_process:  # the measurements of other processes may differ
        manifest = read_manifest(RemoteFolder(store)) if store else None
        recorded = manifest["settings"].get("teacher_precision") if manifest else None
        chosen = recorded or dtype_name(resolve_dtype("auto", device))
    return broadcast_object_list([chosen])[0]
