"""Static models of model2vec: one vector per token, without context."""

import contextlib
import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedTokenizerFast

from asterisk.models.encoder import LoadedModel

if TYPE_CHECKING:
    from model2vec import StaticModel

# The dimensions of the untrained baseline, equal to Asterisk's.
STATIC_DIMENSIONS = 256


def load_static(folder: str) -> "StaticModel":
    """Load a model that model2vec saved."""
    from model2vec import StaticModel

    return StaticModel.from_pretrained(folder)


def untrained_static(location: str, dimensions: int = STATIC_DIMENSIONS) -> "StaticModel":
    """Make a static model from a sentence-transformers model (folder or Hub id) with model2vec's defaults.

    Its vectors are the model's vectors of single tokens, reduced to `dimensions` by PCA.
    """
    from model2vec.distill import distill

    with contextlib.redirect_stderr(io.StringIO()):  # hides a progress bar that has no switch
        return distill(location, pca_dims=dimensions)


def static_model(table: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> "StaticModel":
    """Make a model2vec model from an Asterisk without layers.

    Args:
        table: (tokens, dimensions), float32. The rows of special tokens are zero, since model2vec skips these tokens.
        tokenizer: The Asterisk's tokenizer.
    """
    from model2vec import StaticModel

    return StaticModel(table, tokenizer.backend_tokenizer, normalize=True, max_length=None)


def static_encoder(model: "StaticModel", num_bytes: int = 0) -> LoadedModel:
    """Wrap a model for a [`asterisk.models.encoder.TextEncoder`]; `num_bytes` is its size on disk, if it is a file."""
    digest = hashlib.sha256()
    for array in (model.embedding, model.weights, model.token_mapping):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return model.encode([(prompt or "") + text for text in texts], use_multiprocessing=False)

    tokenizer = hashlib.sha256(model.tokenizer.to_str().encode()).hexdigest()
    return LoadedModel(
        embed,
        settings={"max_length": model.max_length, "tokenizer": tokenizer},
        weights=digest.hexdigest(),
        num_parameters=model.embedding.size,
        num_bytes=num_bytes or model.embedding.nbytes,
        max_length=model.max_length,
    )
