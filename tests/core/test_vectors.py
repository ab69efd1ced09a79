"""Unit vectors, quantisation, principal directions and orthonormal maps are what their names say."""

from typing import Any

import numpy as np
import pytest
from sentence_transformers.util import quantize_embeddings

from asterisk.core.vectors import orthogonal_map, principal_directions, quantize, unit, value_ranges


def test_vectors_get_unit_length_and_zero_stays() -> None:
    assert np.allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), np.array([[0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("dimensions", [16, 13])
def test_quantised_vectors_equal_those_of_sentence_transformers(precision: Any, dimensions: int) -> None:
    rng = np.random.default_rng(0)
    vectors, calibration = rng.normal(size=(2, 300, dimensions)).astype(np.float32)
    calibration[:, 0] = 0.5  # a dimension without range
    expected: Any = quantize_embeddings(vectors, precision, calibration_embeddings=calibration)
    found = quantize(vectors, precision, value_ranges(calibration))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_principal_directions_keep_the_most() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 4)) * [1, 5, 0.1, 2]
    directions = principal_directions(vectors.T @ vectors, 2)
    assert np.allclose(directions.T @ directions, np.eye(2))
    assert np.abs(directions).argmax(axis=0).tolist() == [1, 3]


def test_orthogonal_map_recovers_a_rotation() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    source = unit(rng.normal(size=(100, 8)))
    assert np.allclose(orthogonal_map(source, source @ rotation), rotation, atol=1e-6)
