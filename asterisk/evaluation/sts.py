"""Semantic textual similarity: how well cosines follow human scores, and a table that compares models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asterisk.core.errors import UserError, short
from asterisk.core.markdown import aligned_table
from asterisk.core.vectors import unit
from asterisk.data.arguments import FileFormat
from asterisk.data.readers import check_numbers, read_columns
from asterisk.evaluation.metrics.functions import spearman
from asterisk.evaluation.speed import sentences_per_second
from asterisk.models.encoder import Encode, TextEncoder

# Enough for a stable result; the slowest model embeds them in seconds.
SPEED_SENTENCES = 1_024


@dataclass
class SentencePairs:
    """A semantic textual similarity benchmark: pairs of sentences and their human scores."""

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]


def read_sentence_pairs(source: str, name: str, file_format: FileFormat | None = None) -> SentencePairs:
    """Read the columns `sentence1`, `sentence2` and `score` of a table, or of a Hub dataset's test split.

    Raises:
        UserError: The source is missing or lacks a column, a cell holds neither text nor a finite number, or there are
            fewer than two pairs.
    """
    names = ["sentence1", "sentence2", "score"]
    columns = read_columns(source, names, split="test", numbers=["score"], file_format=file_format)
    first, second, scores = (columns[column] for column in names)
    if len(scores) < 2:
        raise UserError(f"{source} must hold at least two sentence pairs, not {len(scores)}.")
    for row, sides in enumerate(zip(first, second, strict=True)):
        if not all(isinstance(side, str) and side.strip() for side in sides):
            raise UserError(f"{source}: row {row} holds {short([*sides])} instead of two sentences.")
    check_numbers(source, "score", scores)
    return SentencePairs(name, first, second, [float(score) for score in scores])


def sts_cosines(encode: Encode, pairs: SentencePairs) -> np.ndarray:
    """Return the cosine of each pair: (pairs,), float64."""
    sentences = sorted(set(pairs.first + pairs.second))
    vectors = unit(encode(sentences).astype(np.float64))
    row = {sentence: index for index, sentence in enumerate(sentences)}
    first, second = (vectors[[row[sentence] for sentence in side]] for side in (pairs.first, pairs.second))
    return (first * second).sum(axis=1)


def sts_spearman(encode: Encode, pairs: SentencePairs) -> float:
    """Compute the Spearman correlation × 100 between the cosines of the pairs and their human scores."""
    return spearman(sts_cosines(encode, pairs), pairs.scores)


@dataclass
class Measurement:
    """One model's row in the table: its scores, size on disk, and speed from strings to vectors.

    `sts` maps benchmarks to Spearman correlations × 100, and `cosines` to the cosine of each pair, for resampling.
    """

    model: str
    sts: dict[str, float]
    dimensions: int
    parameters: int
    bytes: int
    sentences_per_second: float
    cosines: dict[str, np.ndarray] = field(repr=False)

    @property
    def mean_score(self) -> float:
        """The mean of the scores."""
        return float(np.mean(list(self.sts.values())))

    def numbers(self) -> dict[str, Any]:
        """Return every field except the cosines, for results.json."""
        return {name: value for name, value in vars(self).items() if name != "cosines"}


def measure(name: str, encoder: TextEncoder, benchmarks: Sequence[SentencePairs]) -> Measurement:
    """Measure a model on at least one benchmark, and its speed on the first one's sentences."""
    cosines = {pairs.name: sts_cosines(encoder.encode, pairs) for pairs in benchmarks}
    return Measurement(
        model=name,
        sts={pairs.name: spearman(cosines[pairs.name], pairs.scores) for pairs in benchmarks},
        dimensions=encoder.dimension,
        parameters=encoder.num_parameters,
        bytes=encoder.num_bytes,
        sentences_per_second=sentences_per_second(
            encoder, (benchmarks[0].first + benchmarks[0].second)[:SPEED_SENTENCES]
        ),
        cosines=cosines,
    )


def sts_table(measurements: Sequence[Measurement]) -> str:
    """Format measurements as a Markdown table; retention is the mean score ÷ that of the first row."""
    first = measurements[0]
    rows = [["model", *first.sts, "retention", "dimensions", "parameters", "MB", "sentences/s"]]
    for line in measurements:
        rows.append(
            [
                line.model,
                *(f"{line.sts[name]:.2f}" for name in first.sts),
                f"{line.mean_score / first.mean_score:.1%}",
                f"{line.dimensions}",
                f"{line.parameters:,}",
                f"{line.bytes / 1e6:.1f}",
                f"{line.sentences_per_second:,.0f}",
            ]
        )
    return aligned_table(rows)
