"""models.static"""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import bytes_on_disk

# Dimensions of the untrained baseline, those of Asterisk.
STATIC_DIMENSIONS = 256


def load_model2vec(folder: Path) -> LoadedModel:
    from model2vec import StaticModel

    return _static_model(StaticModel.from_pretrained(folder), bytes_on_disk(str(folder)))


def load_static(location: str) -> LoadedModel:
    from model2vec.distill import distill

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be switched off
        static = distill(location, pca_dims=STATIC_DIMENSIONS)
    return _static_model(static, static.embedding.nbytes)


def _static_model(static: Any, num_bytes: int) -> LoadedModel:
    digest = hashlib.sha256()
    for array in (static.embedding, static.weights, static.token_mapping):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return static.encode([(prompt or "") + text for text in texts], use_multiprocessing=False)

    tokenizer = hashlib.sha256(static.tokenizer.to_str().encode()).hexdigest()
    return LoadedModel(
        embed,
        settings={"max_length": static.max_length, "tokenizer": tokenizer},
        weights=digest.hexdigest(),
        num_parameters=static.embedding.size,
        num_bytes=num_bytes,
        max_length=static.max_length,
    )
