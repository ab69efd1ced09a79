"""The speed of a model, from strings to vectors, at its best batch size."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.models.encoder import TextEncoder

BATCH_SIZES = (16, 32, 64, 128, 256)
# A measurement runs until both are reached, because a static model embeds a thousand sentences in milliseconds.
REPETITIONS = 3
SECONDS = 1.0


@dataclass
class Speed:
    """Sentences per second at each batch size that was tried, and the best of them."""

    batch_size: int
    sentences_per_second: float
    by_batch_size: dict[int, float]


def measure_speed(encoder: TextEncoder, sentences: list[str], batch_sizes: Sequence[int] = BATCH_SIZES) -> Speed:
    """Measure an encoder on its device, with torch's current number of threads.

    At each batch size, the result is the median of at least three repetitions after a warm-up. Duplicate sentences are
    dropped, because an encoder embeds them only once.

    Raises:
        ValueError: There are fewer distinct sentences than the largest batch size.
    """
    distinct = list(dict.fromkeys(sentences))
    if not batch_sizes or len(distinct) < max(batch_sizes):
        raise ValueError(f"{len(distinct)} distinct sentences do not fill a batch of each size in {batch_sizes}")
    by_batch_size = {size: sentences_per_second(encoder, distinct, size) for size in batch_sizes}
    best = max(by_batch_size, key=lambda size: by_batch_size[size])
    return Speed(best, by_batch_size[best], by_batch_size)


def sentences_per_second(encoder: TextEncoder, sentences: list[str], batch_size: int = 64) -> float:
    """Return the median speed of several repetitions after a warm-up; `sentences` should be distinct."""
    encoder.encode(sentences[:batch_size], batch_size=batch_size)
    seconds: list[float] = []
    while len(seconds) < REPETITIONS or sum(seconds) < SECONDS:
        start = time.perf_counter()
        encoder.encode(sentences, batch_size=batch_size)
        seconds.append(time.perf_counter() - start)
    return len(sentences) / float(np.median(seconds))
