"""A projection keeps the teacher's cosines as well as its dimensions allow."""

import numpy as np

from asterisk.distillation.projection import fit_projection
from asterisk.teachers.store import EmbeddingStore


def test_projection_keeps_cosines_better_with_more_dimensions(store: EmbeddingStore) -> None:
    rows = np.arange(len(store))
    vectors = store.embeddings(rows).astype(np.float64)
    cosines = vectors @ vectors.T
    errors = []
    for dimensions in (16, 64, 384, 400):
        projection = fit_projection(store, dimensions, rows, seed=0)
        assert projection.shape == (384, dimensions)
        reduced = vectors @ projection
        errors.append(np.abs(reduced @ reduced.T - cosines).mean())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    assert errors[3] < 1e-5
