"""How fast models are beside each other: in one process, one after the other, each at the batch size that suits it."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.models.encoder import Encode, Encoder

BATCH_SIZES = (16, 32, 64, 128, 256)


# Until both are reached a measurement goes on: a static model is through with a thousand sentences in milliseconds.
REPETITIONS = 3


SECONDS = 1.0


@dataclass
class Speed:
    """Sentences a second at each batch size that was tried, and which was the best."""

    batch_size: int
    sentences_per_second: float
    by_batch_size: dict[int, float]


@dataclass
class ComparisonRow:
    """One model's line: its size, and its speed at its best batch size. `bytes` are those of its weights as stored."""

    model: str
    dimensions: int
    parameters: int
    bytes: int
    sentences_per_second: float
    batch_size: int
    by_batch_size: dict[int, float]


def measure_speed(encoder: Encoder, sentences: list[str], batch_sizes: Sequence[int] = BATCH_SIZES) -> Speed:
    """Strings in, vectors out: at each batch size the median of three or more repetitions, after a warm-up.

    Args:
        encoder: Embeds on its own device with the threads that torch has.
        sentences: Of the lengths that are of interest, and as many as the largest batch size once repeated ones are
            dropped, which an encoder embeds only once.
        batch_sizes: To try.

    Raises:
        ValueError: There are fewer distinct sentences than the largest batch size.
    """
    distinct = list(dict.fromkeys(sentences))
    if not batch_sizes or len(distinct) < max(batch_sizes):
        raise ValueError(f"{len(distinct)} distinct sentences do not fill a batch of each size in {batch_sizes}")
    by_batch_size = {size: _sentences_per_second(encoder, distinct, size) for size in batch_sizes}
    best = max(by_batch_size, key=lambda size: by_batch_size[size])
    return Speed(best, by_batch_size[best], by_batch_size)


def _sentences_per_second(encoder: Encoder, sentences: list[str], batch_size: int) -> float:
    encoder.encode(sentences[:batch_size], batch_size=batch_size)
    seconds: list[float] = []
    while len(seconds) < REPETITIONS or sum(seconds) < SECONDS:
        start = time.perf_counter()
        encoder.encode(sentences, batch_size=batch_size)
        seconds.append(time.perf_counter() - start)
    return len(sentences) / float(np.median(seconds))


def compare(
    encoders: Iterable[Encoder], sentences: list[str], batch_sizes: Sequence[int] = BATCH_SIZES
) -> list[ComparisonRow]:
    """Sizes and speeds of models on the same sentences, one model after the other.

    Args:
        encoders: A generator loads each when the one before is done.
        sentences: See [`measure_speed`].
        batch_sizes: To try with each.

    Raises:
        ValueError: There are fewer distinct sentences than the largest batch size.
    """
    rows = []
    for encoder in encoders:
        speed = measure_speed(encoder, sentences, batch_sizes)
        rows.append(
            ComparisonRow(
                model=encoder.name,
                dimensions=encoder.dimension,
                parameters=encoder.num_parameters,
                bytes=encoder.num_bytes,
                sentences_per_second=speed.sentences_per_second,
                batch_size=speed.batch_size,
                by_batch_size=speed.by_batch_size,
            )
        )
    return rows


# Enough for a steady figure of the slowest model in a few seconds.
SPEED_SENTENCES = 1_024


def sentences_per_second(encode: Encode, sentences: list[str], repetitions: int = 3) -> float:
    """Strings in, vectors out: the median of some repetitions, after a warm-up."""
    encode(sentences[:64])
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        encode(sentences)
        seconds.append(time.perf_counter() - start)
    return len(sentences) / float(np.median(seconds))
