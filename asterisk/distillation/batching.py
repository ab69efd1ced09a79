"""Select the rows of each batch. All functions are pure, so a resumed run gets the same batches."""

from collections.abc import Iterator

import numpy as np

# Batches per length bucket: enough for batches of even length, few enough to keep the order random.
BUCKET_BATCHES = 64


def split_rows(count: int, heldout: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers into training rows and held-out rows.

    Args:
        count: The number of rows.
        heldout: The number of rows to hold out; at most a tenth of all rows.
        seed: Seed of the choice.

    Returns:
        The training rows and the held-out rows, both sorted, int64.
    """
    order = np.random.default_rng([seed, count]).permutation(count)
    heldout = min(heldout, max(1, count // 10))
    return np.sort(order[heldout:]), np.sort(order[:heldout])


def length_batches(lengths: np.ndarray, rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the batches of one epoch, in random order; the rows of one batch have nearly the same length.

    Each row occurs at most once: rows that do not fill the last batch are left out.

    Args:
        lengths: Tokens per row of the store.
        rows: The rows to draw from.
        batch_size: Rows per batch.
        seed: Seed of the order.
        epoch: The epoch's number; each epoch has a different order.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(rows)
    bucket = batch_size * BUCKET_BATCHES
    batches: list[np.ndarray] = []
    for start in range(0, len(shuffled), bucket):
        part = shuffled[start : start + bucket]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[first : first + batch_size] for first in range(0, len(part) - batch_size + 1, batch_size)]
    order = generator.permutation(len(batches))
    return [batches[index] for index in order]


def batches_from(step: int, lengths: np.ndarray, rows: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the batches of `step` and all later steps, epoch after epoch, without end."""
    epoch, first = divmod(step, len(rows) // batch_size)
    while True:
        yield from length_batches(lengths, rows, batch_size, seed, epoch)[first:]
        epoch, first = epoch + 1, 0


def pair_batch(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Return the pairs of one step, as indices below `count`; every pair occurs once before any recurs."""
    batches_per_epoch = max(1, count // batch_size)
    epoch, index = divmod(step, batches_per_epoch)
    order = np.random.default_rng([seed, 1, epoch]).permutation(count)
    return order[index * batch_size : (index + 1) * batch_size]


def sorted_parts(lengths: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Sort rows by length, and split them into parts of about 256 rows for evaluation."""
    by_length = rows[np.argsort(lengths[rows], kind="stable")]
    return np.array_split(by_length, max(1, len(rows) // 256))
