"""Linear algebra on embeddings: unit vectors, quantisation, principal directions, orthonormal maps."""

from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError

# The types that `quantize` returns: one byte per dimension, and one bit per dimension.
SCALAR_TYPES, BINARY_TYPES = ("int8", "uint8"), ("binary", "ubinary")


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (number, dimensions), of any floating dtype, to unit length; zero vectors stay zero."""
    return vectors / np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), 1e-12)[:, None]


def value_ranges(vectors: np.ndarray) -> np.ndarray:
    """Return the minimum and the maximum of each dimension of vectors (number, dimensions): (2, dimensions)."""
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def read_ranges(file: Path, dimensions: int) -> np.ndarray:
    """Read the [`value_ranges`] that a `.npy` file holds.

    Raises:
        UserError: The file cannot be read, or does not hold a minimum and a maximum for each of the dimensions.
    """
    try:
        ranges = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"The ranges {file} cannot be read: {error}.") from error
    if ranges.shape != (2, dimensions) or not (ranges[0] <= ranges[1]).all():
        raise UserError(
            f"The ranges {file} have shape {ranges.shape}; they must be (2, {dimensions}), the minimum and the "
            "maximum of each dimension."
        )
    return ranges


def quantize(vectors: np.ndarray, precision: str, ranges: np.ndarray | None = None) -> np.ndarray:
    """Quantise embeddings as `quantize_embeddings` of sentence-transformers does.

    Args:
        vectors: (number, dimensions), float32.
        precision: "int8" or "uint8": 256 equal steps between the `ranges`. "binary" or "ubinary": the signs, eight to
            a byte.
        ranges: For int8 and uint8, the [`value_ranges`] of representative embeddings; values outside are clipped.

    Returns:
        (number, dimensions) for int8 and uint8; (number, dimensions / 8, rounded up) for the signs. The dtype is uint8
        if `precision` begins with "u", else int8.
    """
    if precision in BINARY_TYPES:
        levels = np.packbits(vectors > 0, axis=-1)
    else:
        assert ranges is not None
        low, high = ranges.astype(np.float32)
        steps = (high - low) / 255
        levels = np.clip(np.floor((vectors - low) / np.where(steps == 0, 1, steps)), 0, 255).astype(np.uint8)
    # Adding 128 to a byte flips its highest bit.
    return levels if precision.startswith("u") else (levels ^ 128).view(np.int8)


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


def nearest_orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Compute the orthonormal factor of the polar decomposition, which is the nearest map without any stretching.

    Directions of length zero stay zero.

    Args:
        matrix: (rows, columns).

    Returns:
        (rows, columns), float32.
    """
    left, lengths, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    kept = lengths > 1e-6 * lengths.max()
    return (left[:, kept] @ right[kept]).astype(np.float32)
