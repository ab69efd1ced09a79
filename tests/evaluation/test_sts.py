"""STS measurements: any encoder, its size and speed, and the table."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from asterisk.evaluation.sts import SentencePairs, measure, sts_table
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER

PAIRS = SentencePairs(
    "Pairs",
    ["A cat sleeps.", "A man cooks.", "It rains.", "A child plays."],
    ["A cat is asleep.", "Someone prepares food.", "The market fell.", "A kid is playing."],
    [5.0, 3.5, 0.0, 4.8],
)


def test_a_measurement_holds_score_size_and_speed() -> None:
    encoder = load_encoder(TEACHER)
    found = measure("teacher", encoder, [PAIRS])
    cosines = (encoder.encode(PAIRS.first) * encoder.encode(PAIRS.second)).sum(axis=1)
    np.testing.assert_allclose(found.cosines["Pairs"], cosines, atol=1e-6)
    assert found.sts["Pairs"] == found.mean_score == pytest.approx(100 * spearmanr(cosines, PAIRS.scores).statistic)
    size = encoder.dimension, encoder.num_parameters, encoder.num_bytes
    assert (found.dimensions, found.parameters, found.bytes) == size
    assert found.sentences_per_second > 0
    assert "cosines" not in found.numbers()
    assert f"| {found.mean_score:.2f} |" in sts_table([found])
