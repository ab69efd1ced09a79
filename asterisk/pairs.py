"""Labelled pairs for contrastive training: read from tables, found again as rows of the corpus."""

from pathlib import Path

import numpy as np

from asterisk.cli import UserError
from asterisk.corpus import Corpus
from asterisk.distillation import Pairs
from asterisk.duplicates import sentence_key
from asterisk.manifest import appearing
from asterisk.reading import read_columns

# The columns of a row: what is close to what, and, optionally, what is not.
COLUMNS = ("anchor", "positive", "negative")


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
    with appearing(path) as temporary:
        temporary.write_text("\n".join(text for column in texts for text in column) + "\n", encoding="utf-8")


def find_pairs(texts: list[list[str]], corpus: Corpus) -> Pairs:
    """The pairs as rows of the corpus; those with a text that was left out of it, as a benchmark's say, are dropped.

    Raises:
        UserError: No pair is left.
    """
    wanted = {sentence_key(text) for column in texts for text in column}
    rows: dict[object, int] = {}
    first = 0
    for index, count in enumerate(corpus.rows_per_shard):
        keys = map(sentence_key, corpus.shard(index))
        rows |= {key: first + row for row, key in enumerate(keys) if key in wanted}
        first += count
    found = np.array([[rows.get(sentence_key(text), -1) for text in column] for column in texts])
    # A text paired with itself teaches nothing.
    found = found[:, (found >= 0).all(axis=0) & (found[0] != found[1])]
    if not found.shape[1]:
        raise UserError(f"None of the {len(texts[0]):,} labelled pairs has all its texts in the corpus.")
    return Pairs(found[0], found[1], found[2] if len(found) == 3 else None)
