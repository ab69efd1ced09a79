"""A linear map from the teacher's dimensions to the student's."""

import numpy as np

from asterisk.core.vectors import principal_directions
from asterisk.teachers.store import EmbeddingStore

# Rows that a projection is fitted on; the second moments of more change nothing that matters.
PROJECTION_ROWS = 100_000


# Rows that a student which has been trained is compared with its teacher on.
ALIGNMENT_ROWS = 20_000


def fit_projection(store: EmbeddingStore, dimensions: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """The orthonormal map to the directions in which the teacher's vectors are longest (uncentred SVD).

    It keeps as much of the vectors as a linear map to so few dimensions can, and orders the dimensions by weight.

    Args:
        store: The teacher's vectors.
        dimensions: Dimensions to keep; if the teacher has no more, the map is a rotation, padded with zeros.
        rows: The rows to fit on; of many, a sample is taken.
        seed: Of the sample.

    Returns:
        (teacher's dimensions, `dimensions`), float32.
    """
    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:PROJECTION_ROWS])
    width = store.settings["dimension"]
    moments = np.zeros((width, width))
    for part in np.array_split(sample, max(1, len(sample) // 8_192)):
        vectors = store.embeddings(part).astype(np.float64)
        moments += vectors.T @ vectors
        # A sample this large touches nearly every page of the shards.
        store.release()
    kept = principal_directions(moments, dimensions)
    projection = np.zeros((width, dimensions), dtype=np.float32)
    projection[:, : kept.shape[1]] = kept
    return projection
