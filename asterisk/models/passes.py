"""Group texts of similar length into forward passes, which reduces padding, and pad the texts of a pass."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

# Tokens per forward pass on a CPU, padding included: few enough to fit the processor's caches.
CPU_PASS_TOKENS = 2_048


def passes_by_length(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Yield the indices of the texts of each forward pass, from the longest to the shortest text.

    Args:
        lengths: The length of each text, in any unit.
        budget: The maximum size of a pass in the same unit, padding included. A longer text gets a separate pass.
        most: The maximum number of texts in a pass; unlimited by default.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        if most is not None:
            size = min(size, most)
        yield order[start : start + size]
        start += size


def pad_token_ids(token_ids: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pad texts to the length of the longest, at least one position.

    Returns:
        Token ids and attention mask, both (texts, length), int64.
    """
    lengths = np.array([len(ids) for ids in token_ids])
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    padded = np.full(mask.shape, pad_id, dtype=np.int64)
    padded[mask] = np.fromiter(chain.from_iterable(token_ids), dtype=np.int64)
    return padded, mask.astype(np.int64)
