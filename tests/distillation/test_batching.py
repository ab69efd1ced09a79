"""Batches are pure functions of the seed and the step."""

from itertools import islice

import numpy as np

from asterisk.distillation.batching import batches_from, length_batches, pair_batch, sorted_parts, split_rows


def test_epoch_holds_every_row_once_in_batches_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 65, 6_400)
    rows = np.arange(6_400)
    batches = length_batches(lengths, rows, 64, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(rows)
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 2
    again, other = (length_batches(lengths, rows, 64, seed=1, epoch=epoch) for epoch in (0, 1))
    assert all(np.array_equal(*pair) for pair in zip(batches, again, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(batches, other, strict=True))


def test_batches_continue_from_any_step_over_epochs() -> None:
    lengths, rows = np.random.default_rng(0).integers(1, 9, 105), np.arange(105)
    whole = list(islice(batches_from(0, lengths, rows, 10, seed=3), 25))
    assert len(np.unique(np.concatenate(whole[:10]))) == len(np.unique(np.concatenate(whole[10:20]))) == 100
    for step in (1, 9, 10, 19):
        later = list(islice(batches_from(step, lengths, rows, 10, seed=3), 25 - step))
        assert all(np.array_equal(*pair) for pair in zip(whole[step:], later, strict=True))


def test_every_pair_occurs_once_before_any_recurs() -> None:
    first = np.concatenate([pair_batch(60, 20, seed=0, step=step) for step in range(3)])
    assert sorted(first) == list(range(60))
    assert not np.array_equal(pair_batch(60, 20, seed=0, step=0), pair_batch(60, 20, seed=0, step=3))


def test_heldout_rows_are_never_training_rows() -> None:
    train, heldout = split_rows(5_000, 300, seed=0)
    assert len(heldout) == 300
    assert sorted([*train, *heldout]) == list(range(5_000))
    assert len(split_rows(50, 300, seed=0)[1]) == 5


def test_sorted_parts_hold_every_row_by_length() -> None:
    lengths, rows = np.random.default_rng(0).integers(1, 65, 2_000), np.arange(500, 1_500)
    parts = sorted_parts(lengths, rows)
    assert sorted(np.concatenate(parts)) == list(rows)
    assert (np.diff(lengths[np.concatenate(parts)]) >= 0).all()
    assert {len(part) for part in parts} <= {333, 334}
