"""Speeds are measured at each batch size, and the best one counts."""

import pytest

from asterisk.evaluation.speed import measure_speed
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER


@pytest.mark.slow
def test_speed_is_the_best_of_all_batch_sizes(sentences: list[str]) -> None:
    speed = measure_speed(load_encoder(TEACHER), sentences[::500][:12], batch_sizes=(1, 12))
    # One sentence per batch is slower on every machine.
    assert speed.batch_size == 12
    assert speed.sentences_per_second == speed.by_batch_size[12] > speed.by_batch_size[1] > 0


def test_repeated_sentences_do_not_count(sentences: list[str]) -> None:
    with pytest.raises(ValueError, match="2 distinct sentences do not fill a batch"):
        measure_speed(load_encoder(TEACHER), sentences[:2] * 32, batch_sizes=(16,))
