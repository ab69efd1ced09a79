"""Group texts of similar length into forward passes, to avoid padding."""

from collections.abc import Iterator, Sequence

# Tokens per forward pass on a CPU, padding included: few enough to fit the processor's caches.
CPU_PASS_TOKENS = 2_048


def passes_by_length(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Yield the indices of the texts of each forward pass, from the longest to the shortest text.

    Args:
        lengths: The length of each text, in any unit.
        budget: The size of a pass in the same unit, padding included. A longer text gets a separate pass.
        most: The largest number of texts in a pass; unlimited by default.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        if most is not None:
            size = min(size, most)
        yield order[start : start + size]
        start += size
