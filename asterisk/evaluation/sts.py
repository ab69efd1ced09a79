"""How good a student is, beside its teacher and beside a static model of the same teacher that needs no training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from asterisk.core.errors import UserError
from asterisk.core.markdown import aligned_table
from asterisk.data.readers import read_columns
from asterisk.evaluation.speed import SPEED_SENTENCES, sentences_per_second
from asterisk.models.encoder import Encode
from asterisk.models.resolve import resolve_model


@dataclass
class SentencePairs:
    """A semantic textual similarity benchmark: pairs of sentences and how alike people found them."""

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]


def read_sentence_pairs(source: str, name: str) -> SentencePairs:
    """Reads columns `sentence1`, `sentence2` and `score` of a table, or of a Hub dataset's test split.

    Raises:
        UserError: The source is missing, lacks a column, or holds fewer than two pairs.
    """
    columns = read_columns(source, ["sentence1", "sentence2", "score"], split="test", numbers=["score"])
    first, second, scores = columns["sentence1"], columns["sentence2"], columns["score"]
    if len(scores) < 2 or not all(isinstance(score, (int, float)) and np.isfinite(score) for score in scores):
        raise UserError(f"{source} must hold at least two sentence pairs, each with a number as its score.")
    return SentencePairs(name, first, second, [float(score) for score in scores])


def sts_cosines(encode: Encode, pairs: SentencePairs) -> np.ndarray:
    """The cosine of each pair: (number of pairs,), float64."""
    sentences = sorted(set(pairs.first + pairs.second))
    vectors = encode(sentences).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    row = {sentence: index for index, sentence in enumerate(sentences)}
    first, second = (vectors[[row[sentence] for sentence in side]] for side in (pairs.first, pairs.second))
    return (first * second).sum(axis=1)


def sts_spearman(encode: Encode, pairs: SentencePairs) -> float:
    """Spearman correlation × 100 between the cosines of the pairs and their human scores."""
    return spearman(sts_cosines(encode, pairs), pairs.scores)


def spearman(values: np.ndarray, scores: list[float]) -> float:
    """Spearman correlation × 100."""
    return float(spearmanr(values, scores).statistic) * 100


@dataclass
class Measurement:
    """One model's line in the table: its scores, size and speed."""

    model: str
    sts: dict[str, float]
    dimensions: int
    parameters: int
    bytes: int
    sentences_per_second: float
    # Benchmark to the cosine of each of its pairs, for those who resample them.
    cosines: dict[str, np.ndarray] = field(repr=False)

    @property
    def mean_score(self) -> float:
        """The mean of the scores."""
        return float(np.mean(list(self.sts.values())))

    def numbers(self) -> dict[str, Any]:
        """All but the cosines, for a file."""
        return {name: value for name, value in vars(self).items() if name != "cosines"}


def measure(model: str, encode: Encode, weights: list[torch.Tensor], benchmarks: list[SentencePairs]) -> Measurement:
    """Measures a model on the benchmarks, and its speed on the first one's sentences.

    Args:
        model: What the table calls it.
        encode: Embeds texts; its settings are those the model's own users have.
        weights: The model's parameters, as they are stored.
        benchmarks: At least one.
    """
    sentences = (benchmarks[0].first + benchmarks[0].second)[:SPEED_SENTENCES]
    cosines = {pairs.name: sts_cosines(encode, pairs) for pairs in benchmarks}
    return Measurement(
        model=model,
        sts={pairs.name: spearman(cosines[pairs.name], pairs.scores) for pairs in benchmarks},
        dimensions=encode(sentences[:1]).shape[1],
        parameters=sum(weight.numel() for weight in weights),
        bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        sentences_per_second=sentences_per_second(encode, sentences),
        cosines=cosines,
    )


def measure_teacher(name: str, benchmarks: list[SentencePairs]) -> Measurement:
    """Measures a sentence-transformers model as its users run it: in float32, through `SentenceTransformer.encode`."""
    from asterisk.models.sentence_transformer import load_sentence_transformer

    teacher = load_sentence_transformer(resolve_model(name))
    return measure(
        f"teacher: {Path(name).name.removeprefix('package:')}",
        lambda texts: teacher.encode(texts, show_progress_bar=False, convert_to_numpy=True),
        list(teacher.parameters()),
        benchmarks,
    )


def measure_static(name: str, dimensions: int, benchmarks: list[SentencePairs]) -> Measurement:
    """Measures the static model that model2vec, with its defaults, makes of the same teacher's tokens untrained."""
    from asterisk.models.static import distil_static

    static = distil_static(resolve_model(name), dimensions)
    return measure(
        "untrained static model (model2vec)", static.encode, [torch.from_numpy(static.embedding)], benchmarks
    )


def markdown_table(measurements: list[Measurement]) -> str:
    """The measurements as a Markdown table; the first is what the others' mean scores are shares of."""
    names = list(measurements[0].sts)
    head = [
        "model",
        *(name for name in names),
        "of the teacher's" if measurements[0].model.startswith("teacher") else "of the first's",
        "dimensions",
        "parameters",
        "MB",
        "sentences/s",
    ]
    lines = [head]
    for line in measurements:
        share = line.mean_score / measurements[0].mean_score
        lines.append(
            [
                line.model,
                *(f"{line.sts[name]:.2f}" for name in names),
                f"{share:.1%}",
                f"{line.dimensions}",
                f"{line.parameters:,}",
                f"{line.bytes / 1e6:.1f}",
                f"{line.sentences_per_second:,.0f}",
            ]
        )
    return aligned_table(lines)
