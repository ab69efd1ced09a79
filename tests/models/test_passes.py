"""Forward passes hold each text once, the longest first, within their budget."""

import numpy as np
import pytest

from asterisk.models.passes import passes_by_length


@pytest.mark.parametrize("most", [None, 7])
def test_passes_hold_each_text_once_within_the_budget(most: int | None) -> None:
    lengths = [int(length) for length in np.random.default_rng(0).integers(0, 100, 500)]
    passes = list(passes_by_length(lengths, 256, most))
    assert sorted(row for rows in passes for row in rows) == list(range(500))
    longest = [lengths[rows[0]] for rows in passes]
    assert longest == sorted(longest, reverse=True)
    for rows in passes:
        assert lengths[rows[0]] == max(lengths[row] for row in rows)
        assert len(rows) * lengths[rows[0]] <= 256
        assert most is None or len(rows) <= most


def test_text_longer_than_the_budget_forms_a_pass_of_its_own() -> None:
    # The budget holds two texts of length 5 or shorter.
    assert list(passes_by_length([3, 900, 0, 5], 10)) == [[1], [3, 0], [2]]
    assert list(passes_by_length([], 10)) == []
