"""Late chunking (Günther et al. 2024, arXiv 2409.04701): embed the parts of a document in its context."""

from collections.abc import Sequence

import numpy as np

from asterisk.core.vectors import unit
from modeling_asterisk import AsteriskModel


def encode_chunks(model: AsteriskModel, document: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Embed parts of a document, each as the mean of its token vectors in the whole document.

    For a two-layer model, `model.encode` of each part alone retrieves better (docs/vector_databases.md). This function
    is for comparisons, and for parts that mean nothing on their own.

    Args:
        model: A model that was loaded with its tokenizer.
        document: A text of any length.
        spans: The first character of each part and the one after its last. Parts may overlap.

    Returns:
        Unit-norm embeddings (parts, dimensions), float32; zeros for a part without tokens.

    Raises:
        ValueError: A span is empty or lies outside the document.
    """
    for start, end in spans:
        if not 0 <= start < end <= len(document):
            raise ValueError(
                f"The span ({start}, {end}) is empty or lies outside the document of {len(document):,} characters."
            )
    vectors, offsets = model.encode_tokens(document)
    chunks = np.zeros((len(spans), vectors.shape[1]), np.float32)
    for chunk, (start, end) in zip(chunks, spans, strict=True):
        chunk += vectors[(offsets[:, 0] < end) & (offsets[:, 1] > start)].sum(axis=0)
    return unit(chunks)
