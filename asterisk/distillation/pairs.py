"""Labelled pairs, for contrast or with scores: read from tables, found again as rows of the corpus."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file
from asterisk.data.corpus import Corpus
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import read_columns
from asterisk.distillation.loop import Pairs, ScoredPairs

# The columns of a row: what is close to what, and, optionally, what is not.
COLUMNS = ("anchor", "positive", "negative")


# The columns of a table of scored pairs, unless its name is followed by #FIRST,SECOND,SCORE.
SCORE_COLUMNS = ("sentence1", "sentence2", "score")


@dataclass
class ScoredTexts:
    """Pairs of texts, how close people found them, and which table each comes from: lists of one length."""

    first: list[str]
    second: list[str]
    scores: list[float]
    groups: list[int]


def read_scored_pairs(sources: list[str]) -> ScoredTexts:
    """Reads pairs of texts with a number that says how close they are.

    Args:
        sources: Tables or Hub datasets, as of [`read_pairs`], each with columns sentence1, sentence2 and score, or
            followed by #FIRST,SECOND,SCORE to name them; -SCORE is a column that is higher for what is less close.

    Raises:
        UserError: A table lacks a column, or a row holds something else than text or a finite number.
    """
    texts = ScoredTexts([], [], [], [])
    for group, given in enumerate(sources):
        source, _, names = given.partition("#")
        columns = names.split(",") if names else list(SCORE_COLUMNS)
        if len(columns) != 3:
            raise UserError(f"{given!r} must name three columns after #: first text, second text, score.")
        sign = -1 if columns[2].startswith("-") else 1
        columns[2] = columns[2].removeprefix("-")
        first, second = read_pairs([source], columns[:2])
        scores = read_columns(source, columns[2:], numbers=columns[2:])[columns[2]]
        for number, score in enumerate(scores):
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                where = f"{source}: row {number} of column {columns[2]!r}"
                raise UserError(f"{where} holds {score!r} instead of a number.")
        texts.first += first
        texts.second += second
        texts.scores += [sign * float(score) for score in scores]
        texts.groups += [group] * len(scores)
    return texts


def read_pairs(sources: list[str], columns: list[str]) -> list[list[str]]:
    """Reads texts that belong together.

    Args:
        sources: Tables (.parquet, .csv, .tsv, .jsonl), folders, glob patterns or Hub datasets.
        columns: Names of the columns of anchor, positive and, if there is a third, hard negative.

    Returns:
        The columns, each a list of as many texts as there are rows.

    Raises:
        UserError: There are not two or three columns, a table lacks one, or a row holds something else than text.
    """
    if len(columns) not in (2, 3):
        raise UserError(f"--pair_columns takes two or three columns ({', '.join(COLUMNS)}), not {len(columns)}.")
    texts: list[list[str]] = [[] for _ in columns]
    for source in sources:
        table = read_columns(source, columns)
        for column, gathered in zip(columns, texts, strict=True):
            for number, text in enumerate(table[column]):
                if not isinstance(text, str) or not text.strip():
                    raise UserError(f"{source}: row {number} of column {column!r} holds {text!r} instead of text.")
                gathered.append(" ".join(text.split()))
    if not texts[0]:
        raise UserError(f"There is no pair in {', '.join(sources)}.")
    return texts


def write_pair_texts(texts: list[list[str]], path: Path) -> None:
    """Writes the pairs' texts, a line each, to be a source of the corpus: so the teacher embeds them with the rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(text for column in texts for text in column) + "\n", encoding="utf-8")


def find_pairs(texts: list[list[str]], corpus: Corpus) -> Pairs:
    """The pairs as rows of the corpus; those with a text that was left out of it, as a benchmark's say, are dropped.

    Raises:
        UserError: No pair is left.
    """
    found = _rows_of(texts, corpus)
    # A text paired with itself teaches nothing.
    found = found[:, (found >= 0).all(axis=0) & (found[0] != found[1])]
    if not found.shape[1]:
        raise UserError(f"None of the {len(texts[0]):,} labelled pairs has all its texts in the corpus.")
    return Pairs(found[0], found[1], found[2] if len(found) == 3 else None)


def find_scored_pairs(texts: ScoredTexts, corpus: Corpus) -> ScoredPairs:
    """As [`find_pairs`], of pairs with scores.

    Raises:
        UserError: No pair is left.
    """
    found = _rows_of([texts.first, texts.second], corpus)
    kept = (found >= 0).all(axis=0)
    if not kept.any():
        raise UserError(f"None of the {len(texts.first):,} scored pairs has both its texts in the corpus.")
    return ScoredPairs(
        found[0, kept],
        found[1, kept],
        np.array(texts.scores, dtype=np.float32)[kept],
        np.array(texts.groups, dtype=np.int64)[kept],
    )


def _rows_of(texts: list[list[str]], corpus: Corpus) -> np.ndarray:
    """The rows of the corpus that hold the texts, or -1: int64, of the shape of `texts`."""
    wanted = {sentence_key(text) for column in texts for text in column}
    rows: dict[object, int] = {}
    first = 0
    for index, count in enumerate(corpus.rows_per_shard):
        keys = map(sentence_key, corpus.shard(index))
        rows |= {key: first + row for row, key in enumerate(keys) if key in wanted}
        first += count
    return np.array([[rows.get(sentence_key(text), -1) for text in column] for column in texts])
