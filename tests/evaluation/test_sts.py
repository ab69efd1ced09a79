"""STS measurements: any encoder, its size and speed, and the table."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from asterisk.core.errors import UserError
from asterisk.data.arguments import FileFormat
from asterisk.evaluation.sts import SentencePairs, measure, read_sentence_pairs, sts_table
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER

PAIRS = SentencePairs(
    "Pairs",
    ["A cat sleeps.", "A man cooks.", "It rains.", "A child plays."],
    ["A cat is asleep.", "Someone prepares food.", "The market fell.", "A kid is playing."],
    [5.0, 3.5, 0.0, 4.8],
)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"sentence1": null, "sentence2": "b", "score": 1}', r"row 1 holds \[None, 'b'\] instead of two sentences"),
        ('{"sentence1": " ", "sentence2": "b", "score": 1}', r"row 1 holds \[' ', 'b'\] instead of two sentences"),
        ('{"sentence1": ["a"], "sentence2": "b", "score": 1}', "row 1 holds .* instead of two sentences"),
        ('{"sentence1": "a", "sentence2": "b", "score": "4,5"}', "row 1 of column 'score' holds '4,5' instead of a"),
        (
            '{"sentence1": "a", "sentence2": "b", "score": NaN}',
            "row 1 of column 'score' holds nan instead of a",
        ),
        ("", "must hold at least two sentence pairs, not 1"),
    ],
)
def test_pairs_that_are_none_are_named(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"sentence1": "a", "sentence2": "b", "score": 1.5}\n' + row)
    with pytest.raises(UserError, match=message):
        read_sentence_pairs(str(path), "Pairs")


def test_pairs_are_read_with_the_given_separator_and_encoding(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes("sentence1^sentence2^score\ncafé^thé^1.5\nun^deux^2\n".encode("mac_roman"))
    pairs = read_sentence_pairs(str(path), "Pairs", FileFormat(separator="^", encoding="mac_roman"))
    assert (pairs.first, pairs.second, pairs.scores) == (["café", "un"], ["thé", "deux"], [1.5, 2.0])


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
