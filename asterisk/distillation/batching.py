"""Which rows of a store make which batch: pure functions, so that a resumed run sees what it would have seen."""

import numpy as np

# Batches that are sorted by length together: enough for even lengths, few enough to stay random.
BUCKET_BATCHES = 64


def split_rows(count: int, heldout: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training, and `heldout` others, but at most a tenth of all, for measuring agreement."""
    order = np.random.default_rng([seed, count]).permutation(count)
    heldout = min(heldout, max(1, count // 10))
    return np.sort(order[heldout:]), np.sort(order[:heldout])


def length_batches(lengths: np.ndarray, rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """One epoch's batches: each row once, rows of one batch of nearly one length, the batches in random order.

    The last rows that fill no batch are left out.

    Args:
        lengths: The number of tokens of every row of the store.
        rows: The rows to draw from.
        batch_size: Rows of each batch.
        seed: Of the order.
        epoch: Each has another order.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(rows)
    bucket = batch_size * BUCKET_BATCHES
    made: list[np.ndarray] = []
    for start in range(0, len(shuffled), bucket):
        part = shuffled[start : start + bucket]
        part = part[np.argsort(lengths[part], kind="stable")]
        made += [part[first : first + batch_size] for first in range(0, len(part) - batch_size + 1, batch_size)]
    order = generator.permutation(len(made))
    return [made[index] for index in order]


def pair_batch(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The pairs of one step, out of `count`: each pair once before any comes again."""
    batches_per_epoch = max(1, count // batch_size)
    epoch, index = divmod(step, batches_per_epoch)
    order = np.random.default_rng([seed, 1, epoch]).permutation(count)
    return order[index * batch_size : (index + 1) * batch_size]
