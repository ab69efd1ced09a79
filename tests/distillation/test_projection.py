"""A projection keeps the teacher's cosines as well as its dimensions allow, and lengthens what tells groups apart."""

import numpy as np

from asterisk.core.vectors import unit
from asterisk.distillation.label_tasks import LabelledCorpus, LabelTask
from asterisk.distillation.projection import fit_projection, stretch_between_groups
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


def test_a_stretch_moves_groups_apart_and_can_be_undone(store: EmbeddingStore) -> None:
    rows = np.arange(len(store))
    projection = fit_projection(store, 64, rows, seed=0)
    groups = np.arange(len(rows))[:, None] % 3 == np.arange(2)
    task = LabelTask(1.0, 2.0, np.ones(len(rows), dtype=bool), groups, np.full(len(rows), np.nan, dtype=np.float32))
    labelled = LabelledCorpus(store.texts(rows), [task], rows, [])

    def separation(used: np.ndarray) -> float:
        vectors = unit(store.embeddings(rows).astype(np.float32) @ used)
        means = np.stack([vectors[rows % 3 == group].mean(axis=0) for group in range(3)])
        return float(np.trace(np.cov(means.T)) / np.trace(np.cov(vectors.T)))

    stretched = stretch_between_groups(projection, store, labelled)
    assert separation(stretched) > 2 * separation(projection)
    assert np.allclose(projection @ np.linalg.pinv(stretched) @ stretched, projection, atol=1e-4)
    # Three groups span two directions; all others stay as they are.
    lengths = np.linalg.svd(stretched, compute_uv=False)
    assert np.allclose(lengths[:2], 3, atol=1e-4)
    assert np.allclose(lengths[2:], 1, atol=1e-4)
    # A second training continues from the stretched projection.
    assert np.allclose(stretch_between_groups(stretched, store, labelled), stretched, atol=1e-4)
    task.stretch = 0
    assert np.allclose(stretch_between_groups(projection, store, labelled), projection)
