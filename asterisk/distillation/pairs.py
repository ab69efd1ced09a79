"""Labelled and scored pairs: their texts are read from tables, then looked up as rows of the corpus."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.arguments import FileFormat
from asterisk.data.corpus import Corpus
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import check_numbers, check_texts, read_columns

# The default columns of a table of scored pairs.
SCORE_COLUMNS = ("sentence1", "sentence2", "score")


@dataclass
class Pairs:
    """Labelled pairs as arrays of equal length: texts (object) or rows of the store (int64)."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray | None = None
    """Hard negatives, if the tables have them."""

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def columns(self) -> list[np.ndarray]:
        """The anchors, the positives and, if there are any, the negatives."""
        return [column for column in (self.anchors, self.positives, self.negatives) if column is not None]


@dataclass
class ScoredPairs:
    """Scored pairs as arrays of equal length: texts (object) or rows of the store (int64), and their scores."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray
    """float32, higher for closer pairs."""
    tables: np.ndarray
    """int64, the table of each pair. Scores of different tables are not comparable."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def columns(self) -> list[np.ndarray]:
        """The first and the second texts."""
        return [self.first, self.second]


def read_pairs(sources: Sequence[str], columns: Sequence[str], file_format: FileFormat | None = None) -> Pairs:
    """Read the texts of labelled pairs.

    Args:
        sources: Tables (.parquet, .csv, .tsv, .jsonl), folders, glob patterns or Hub datasets.
        columns: Names of the columns: anchor, positive and, optionally, hard negative.
        file_format: Overrides for the detected file format.

    Raises:
        UserError: There are not two or three columns, a table lacks one, or a cell holds no text.
    """
    if len(columns) not in (2, 3):
        raise UserError(f"--pair_columns takes two or three columns (anchor, positive, negative), not {len(columns)}.")
    texts: list[list[str]] = [[] for _ in columns]
    for source in sources:
        table = read_columns(source, list(columns), file_format=file_format)
        for column, gathered in zip(columns, texts, strict=True):
            check_texts(source, column, table[column])
            gathered += (" ".join(text.split()) for text in table[column])
    if not texts[0]:
        raise UserError(f"There is no pair in {', '.join(sources)}.")
    return Pairs(*(np.array(column, dtype=object) for column in texts))


def read_scored_pairs(sources: Sequence[str], file_format: FileFormat | None = None) -> ScoredPairs:
    """Read pairs of texts with a number that says how close they are.

    Args:
        sources: Tables or Hub datasets as in [`read_pairs`], each with columns sentence1, sentence2 and score.
            #FIRST,SECOND,SCORE after a source names the columns; -SCORE is a column where lower means closer.
        file_format: Overrides for the detected file format.

    Raises:
        UserError: A table lacks a column, or a cell holds neither text nor a finite number.
    """
    parts = []
    for index, spec in enumerate(sources):
        source, _, names = spec.partition("#")
        columns = names.split(",") if names else list(SCORE_COLUMNS)
        if len(columns) != 3:
            raise UserError(f"{spec!r} must name three columns after #: first text, second text, score.")
        sign = -1 if columns[2].startswith("-") else 1
        score_column = columns[2].removeprefix("-")
        texts = read_pairs([source], columns[:2], file_format)
        table = read_columns(source, [score_column], numbers=[score_column], file_format=file_format)
        scores = table[score_column]
        check_numbers(source, score_column, scores)
        signed = np.array([sign * float(score) for score in scores], dtype=np.float32)
        parts.append((texts.anchors, texts.positives, signed, np.full(len(texts), index, dtype=np.int64)))
    return ScoredPairs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def write_texts(texts: Iterable[str], path: Path) -> None:
    """Write texts as a corpus source, one per line, so that the teacher embeds them."""
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")


def find_pairs(pairs: Pairs, corpus: Corpus) -> Pairs:
    """Return the pairs as rows of the corpus.

    A pair is dropped if the corpus leaves out one of its texts, such as a benchmark's, or if both texts are the same.

    Raises:
        UserError: No pair is left.
    """
    rows = find_rows(pairs.columns, corpus)
    rows = rows[:, (rows >= 0).all(axis=0) & (rows[0] != rows[1])]
    if not rows.shape[1]:
        raise UserError(f"None of the {len(pairs):,} labelled pairs has all its texts in the corpus.")
    return Pairs(*rows)


def find_scored_pairs(pairs: ScoredPairs, corpus: Corpus) -> ScoredPairs:
    """Return the pairs as rows of the corpus; drop pairs with a text that the corpus leaves out.

    Raises:
        UserError: No pair is left.
    """
    rows = find_rows(pairs.columns, corpus)
    found = (rows >= 0).all(axis=0)
    if not found.any():
        raise UserError(f"None of the {len(pairs):,} scored pairs has both its texts in the corpus.")
    first, second = rows[:, found]
    return ScoredPairs(first, second, pairs.scores[found], pairs.tables[found])


def find_rows(columns: list[np.ndarray], corpus: Corpus) -> np.ndarray:
    """Return the row of each text in the corpus, or -1: (columns, pairs), int64."""
    wanted = {sentence_key(text) for column in columns for text in column}
    rows: dict[object, int] = {}
    first_row = 0
    for index, count in enumerate(corpus.rows_per_shard):
        keys = map(sentence_key, corpus.shard(index))
        rows |= {key: first_row + row for row, key in enumerate(keys) if key in wanted}
        first_row += count
    return np.array([[rows.get(sentence_key(text), -1) for text in column] for column in columns])
