"""Select a corpus's sentences, and add texts made from them, as one stream.

Split texts (option) → drop sentences that are blank, too long or too short → drop duplicates and benchmark sentences →
take each source's share (option) → add documents of successive sentences (option) → add phrases and crossings
(option).
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.data.arguments import FileFormat
from asterisk.data.deduplication import SeenKeys, sentence_key
from asterisk.data.readers import read_texts
from asterisk.data.recombination import make_crossings, make_phrases

# Longer lines are binary or minified data; a student reads at most a few hundred tokens.
LONGEST_TEXT = 20_000

# Range of sentences in a document; twelve are about 256 tokens.
DOCUMENT_SENTENCES = (2, 12)

# Names of the counts. The numbers of dropped and kept texts, without added and recombined ones, sum to "sentences" if
# texts are split, else to "read".
DROPPED = ("blank", "too long", "too short", "in a benchmark", "duplicate", "beyond the source's share")
ADDED, RECOMBINED = "put together", "recombined"


def sentence_splitter(language: str) -> Callable[[str], list[str]]:
    """Return a function that splits a text into sentences by the rules of a language (en, de, …), with single spaces.

    Raises:
        UserError: The package sentencex (https://github.com/wikimedia/sentencex) is not installed.
    """
    try:
        from sentencex import segment
    except ImportError:
        raise UserError("Splitting text into sentences needs a package: pip install sentencex.") from None
    return lambda text: [" ".join(sentence.split()) for sentence in segment(language, text)]


class Reservoir:
    """A reproducible uniform sample of the offered texts, in order (reservoir sampling: Vitter 1985, algorithm R).

    Attributes:
        size: Maximum number of texts drawn.
        offered: Number of texts offered so far.
    """

    def __init__(self, size: int):
        self.size, self.offered = size, 0
        self._generator = random.Random(0)
        self._drawn: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        """Offer a text."""
        position = self.offered
        self.offered += 1
        if position < self.size:
            self._drawn.append((position, text))
        elif (slot := self._generator.randrange(position + 1)) < self.size:
            self._drawn[slot] = (position, text)

    def __len__(self) -> int:
        return len(self._drawn)

    def __iter__(self) -> Iterator[str]:
        return (text for _, text in sorted(self._drawn))


@dataclass
class Share:
    """Maximum numbers of texts from a source: sentences (0: all), and texts made from them."""

    sentences: int = 0
    documents: int = 0
    phrases: int = 0
    crossings: int = 0


def select_sentences(
    shares: list[tuple[str, Share]],
    text_column: str,
    split: Callable[[str], list[str]] | None,
    excluded: set[bytes],
    min_words: int,
    counts: dict[str, int],
    file_format: FileFormat,
) -> Iterator[str]:
    """Yield the texts of a corpus: the sentences and documents of each file, then all phrases and crossings.

    Args:
        shares: The files or Hub datasets in order, each with its share.
        text_column: Column of tables that holds the text.
        split: Splits a text into sentences; None takes texts as they are.
        excluded: Keys of sentences to leave out.
        min_words: Sentences with fewer words are left out.
        counts: Incremented for every text, under "read", "sentences", and the names in DROPPED, ADDED and RECOMBINED.
        file_format: Overrides for the detected file format.
    """
    seen = SeenKeys()
    pools = []
    with progress_bar("Reading text", "texts") as progress:
        for file, share in shares:
            sentences = _sentences(read_texts(file, text_column, file_format), split, counts, progress)
            sentences = _distinct(sentences, excluded, seen, min_words, counts)
            documents = Reservoir(share.documents)
            if share.documents:
                sentences = _collect_documents(sentences, documents)
            pool = Reservoir(max(share.phrases, 2 * share.crossings))
            if pool.size:
                sentences = _collect(sentences, pool)
                pools.append((pool, share))
            yield from _sample(sentences, share.sentences, counts) if share.sentences else sentences
            counts[ADDED] += len(documents)
            yield from documents
        for pool, share in pools:
            sampled = list(pool)
            made = itertools.chain(make_phrases(sampled, share.phrases), make_crossings(sampled, share.crossings))
            # The counts of dropped texts cover only texts that were read.
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


def _sample(sentences: Iterable[str], number: int, counts: dict[str, int]) -> Iterator[str]:
    sample = Reservoir(number)
    for sentence in sentences:
        sample.add(sentence)
    counts["beyond the source's share"] += sample.offered - len(sample)
    yield from sample


def _collect_documents(sentences: Iterable[str], documents: Reservoir) -> Iterator[str]:
    """Pass sentences through; join runs of successive ones and offer them as documents."""
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


def _collect(sentences: Iterable[str], reservoir: Reservoir) -> Iterator[str]:
    """Pass sentences through; offer each to the reservoir."""
    for sentence in sentences:
        reservoir.add(sentence)
        yield sentence
