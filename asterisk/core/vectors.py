"""core.vectors"""

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors (number, dimensions), each of unit length; one of zeros stays."""
    return vectors / np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), 1e-12)[:, None]


def orthogonal_map(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """The orthonormal map that brings the teacher's vectors closest to those of a student that has been trained.

    Its dimensions stand for directions of the teacher already, and another choice of them would undo what it learnt
    (orthogonal Procrustes: Schönemann 1966, doi:10.1007/BF02289451).

    Args:
        teacher: (rows, teacher's dimensions), unit vectors.
        student: (rows, student's dimensions), unit vectors of the same sentences.

    Returns:
        (teacher's dimensions, student's dimensions), float32.
    """
    left, _, right = np.linalg.svd(teacher.astype(np.float64).T @ student.astype(np.float64), full_matrices=False)
    return (left @ right).astype(np.float32)
