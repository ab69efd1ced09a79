"""Which of the sources' sentences a corpus keeps, and what is made of them, as one stream.

Split (option) → without what is blank, too long or too short → without duplicates and benchmark sentences → without
near-duplicates (option) → each source's share (option) → documents of successive sentences (option) → phrases and
crossings (option).
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.data.deduplication import NearDuplicates, SeenKeys, sentence_key
from asterisk.data.readers import read_texts
from asterisk.data.recombination import crossings as crossed
from asterisk.data.recombination import phrases

# Longer lines are binary or minified data, not text that a student of at most a few hundred tokens could read.
LONGEST_TEXT = 20_000

# The sentences of a document that is put together from successive ones: from a pair to what fills some 256 tokens.
DOCUMENT_SENTENCES = (2, 12)

# What is counted. "sentences" only where texts are split; those dropped and kept add up to it, or else to "read", but
# for the texts that are made of sentences and kept beside them.
DROPPED = (
    "blank",
    "too long",
    "too short",
    "in a benchmark",
    "duplicate",
    "near-duplicate",
    "beyond the source's share",
)
ADDED, RECOMBINED = "put together", "recombined"


def sentence_splitter(language: str) -> Callable[[str], list[str]]:
    """A function that gives the sentences of a text, by the rules of `language` (en, de, …), white space made single.

    Raises:
        UserError: The package sentencex (https://github.com/wikimedia/sentencex) is not installed.
    """
    try:
        from sentencex import segment
    except ImportError:
        raise UserError("Splitting text into sentences needs a package: pip install sentencex.") from None
    return lambda text: [" ".join(sentence.split()) for sentence in segment(language, text)]


class Reservoir:
    """At most so many of the texts it is offered, each with the same chance, in their order.

    The same texts are drawn every time (reservoir sampling: Vitter 1985, algorithm R).

    Attributes:
        offered: How many there were.
    """

    def __init__(self, number: int):
        self.number, self.offered = number, 0
        self._generator = random.Random(0)
        self._drawn: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        """Offers a text."""
        position = self.offered
        self.offered += 1
        if position < self.number:
            self._drawn.append((position, text))
        elif (place := self._generator.randrange(position + 1)) < self.number:
            self._drawn[place] = (position, text)

    def __len__(self) -> int:
        return len(self._drawn)

    def __iter__(self) -> Iterator[str]:
        return (text for _, text in sorted(self._drawn))


@dataclass
class Share:
    """How many texts of a source: its sentences at most, or 0 for all, and those made of them."""

    sentences: int = 0
    documents: int = 0
    phrases: int = 0
    crossings: int = 0


def chosen_texts(
    shares: list[tuple[str, Share]],
    text_column: str,
    split: Callable[[str], list[str]] | None,
    excluded: set[bytes],
    min_words: int,
    near: NearDuplicates | None,
    counts: dict[str, int],
) -> Iterator[str]:
    """The texts that are kept, file by file, and what is recombined of them."""
    seen = SeenKeys()
    pools = []
    with progress_bar("Reading text", "texts") as progress:
        for file, share in shares:
            sentences = _sentences(read_texts(file, text_column), split, counts, progress)
            sentences = _distinct(sentences, excluded, seen, min_words, counts)
            if near is not None:
                sentences = _without_near_duplicates(sentences, near, counts)
            documents = Reservoir(share.documents)
            if share.documents:
                sentences = _joined(sentences, documents)
            pool = Reservoir(max(share.phrases, 2 * share.crossings))
            if pool.number:
                sentences = _offered(sentences, pool)
                pools.append((pool, share))
            yield from _drawn(sentences, share.sentences, counts) if share.sentences else sentences
            counts[ADDED] += len(documents)
            yield from documents
        for pool, share in pools:
            drawn = list(pool)
            made = itertools.chain(phrases(drawn, share.phrases), crossed(drawn, share.crossings))
            # What is left out of them was never read.
            for text in _distinct(made, excluded, seen, 1, dict.fromkeys(DROPPED, 0)):
                counts[RECOMBINED] += 1
                yield text


def _sentences(
    texts: Iterable[str], split: Callable[[str], list[str]] | None, counts: dict[str, int], progress: tqdm
) -> Iterator[str]:
    for text in texts:
        progress.update()
        counts["read"] += 1
        if split is None:
            yield text.strip()
        else:
            sentences = split(text) or [""]
            counts["sentences"] += len(sentences)
            yield from sentences


def _distinct(
    sentences: Iterable[str], excluded: set[bytes], seen: SeenKeys, min_words: int, counts: dict[str, int]
) -> Iterator[str]:
    for sentence in sentences:
        if not sentence:
            counts["blank"] += 1
        elif len(sentence) > LONGEST_TEXT:
            counts["too long"] += 1
        elif min_words > 1 and len(sentence.split()) < min_words:
            counts["too short"] += 1
        elif (key := sentence_key(sentence)) in excluded:
            counts["in a benchmark"] += 1
        elif not seen.add(key):
            counts["duplicate"] += 1
        else:
            yield sentence


def _without_near_duplicates(sentences: Iterator[str], near: NearDuplicates, counts: dict[str, int]) -> Iterator[str]:
    while chunk := list(itertools.islice(sentences, near.CHUNK)):
        kept = near.unlike(chunk)
        counts["near-duplicate"] += len(chunk) - len(kept)
        yield from kept


def _drawn(sentences: Iterable[str], number: int, counts: dict[str, int]) -> Iterator[str]:
    drawn = Reservoir(number)
    for sentence in sentences:
        drawn.add(sentence)
    counts["beyond the source's share"] += drawn.offered - len(drawn)
    yield from drawn


def _joined(sentences: Iterable[str], documents: Reservoir) -> Iterator[str]:
    """The sentences; meanwhile each is also put together with those that follow it, into one of the documents."""
    generator = random.Random(0)
    parts: list[str] = []
    wanted = generator.randint(*DOCUMENT_SENTENCES)
    for sentence in sentences:
        yield sentence
        parts.append(sentence)
        if len(parts) == wanted:
            documents.add(" ".join(parts))
            parts = []
            wanted = generator.randint(*DOCUMENT_SENTENCES)


def _offered(sentences: Iterable[str], reservoir: Reservoir) -> Iterator[str]:
    """The sentences; meanwhile each is offered to the reservoir, too."""
    for sentence in sentences:
        reservoir.add(sentence)
        yield sentence
