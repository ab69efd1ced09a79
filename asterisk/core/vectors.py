"""Linear algebra on embeddings: unit vectors, principal directions, orthonormal maps."""

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (number, dimensions) to unit length; zero vectors stay zero."""
    return vectors / np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), 1e-12)[:, None]


def principal_directions(moments: np.ndarray, dimensions: int) -> np.ndarray:
    """Compute the directions with the largest second moments, in descending order.

    For centred vectors these are the principal components; for uncentred ones, the right singular vectors.

    Args:
        moments: `vectors.T @ vectors`, (width, width), float64.
        dimensions: The number of directions to keep.

    Returns:
        (width, at most `dimensions`), float64, with orthonormal columns.
    """
    eigenvalues, directions = np.linalg.eigh(moments)
    return directions[:, np.argsort(eigenvalues)[::-1][:dimensions]]


def orthogonal_map(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Compute the orthonormal map that takes `source` closest to `target`.

    Orthogonal Procrustes: Schönemann 1966, doi:10.1007/BF02289451.

    Args:
        source: (rows, source dimensions), unit vectors.
        target: (rows, target dimensions), unit vectors of the same texts.

    Returns:
        (source dimensions, target dimensions), float32.
    """
    left, _, right = np.linalg.svd(source.astype(np.float64).T @ target.astype(np.float64), full_matrices=False)
    return (left @ right).astype(np.float32)
