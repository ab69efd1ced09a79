"""Speeds are measured in one run, each model's at its own best batch size."""

from collections.abc import Iterator

import pytest

from asterisk.evaluation.speed import compare, measure_speed
from asterisk.models.encoder import Encoder
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER


def test_rows_hold_sizes_and_the_best_of_the_measured_speeds(sentences: list[str]) -> None:
    texts = sentences[::500][:12]
    loaded: list[Encoder] = []

    def encoders() -> Iterator[Encoder]:
        for dimensions in (None, 64):
            loaded.append(load_encoder(TEACHER, truncate_dim=dimensions))
            yield loaded[-1]

    rows = compare(encoders(), texts, batch_sizes=(1, 12))
    assert [row.dimensions for row in rows] == [384, 64]
    for row, encoder in zip(rows, loaded, strict=True):
        assert (row.model, row.parameters, row.bytes) == (encoder.name, encoder.num_parameters, encoder.num_bytes)
        assert row.parameters == 22_713_216
        # Sentences one by one are slower on every machine there is.
        assert row.batch_size == 12
        assert row.sentences_per_second == row.by_batch_size[12] > row.by_batch_size[1] > 0


def test_repeated_sentences_do_not_make_a_model_faster(sentences: list[str]) -> None:
    with pytest.raises(ValueError, match="2 distinct sentences do not fill a batch"):
        measure_speed(load_encoder(TEACHER), sentences[:2] * 32, batch_sizes=(16,))
