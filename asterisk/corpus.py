"""Text in: files, folders and Hub datasets become shards of distinct sentences, benchmark sentences left out.

One pass, in the order of the sources: read → split into sentences (option) → drop what is blank, too long or too short
→ drop exact duplicates and benchmark sentences → drop near-duplicates (option) → draw each source's share (option) →
add some documents of successive sentences (option) → add phrases and crossings of sentences (option) → Parquet shards.
Memory holds one shard, one source's share, the sentences to recombine, and what tells duplicates: about 16 bytes a
sentence, and 0.3 kB more with near-duplicates.
"""

import glob
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from asterisk.cli import UserError
from asterisk.duplicates import NearDuplicates, SeenKeys, sentence_key
from asterisk.manifest import (
    MANIFEST,
    appearing_folder,
    file_hash,
    making,
    read_json,
    refuse_difference,
    write_json,
)
from asterisk.progress import progress_bar
from asterisk.reading import files_of, kind_of, read_lines, read_rows, read_texts
from asterisk.recombination import crossings as crossed
from asterisk.recombination import phrases

# Longer lines are binary or minified data, not text that a student of at most a few hundred tokens could read.
LONGEST_TEXT = 20_000

# Files up to this many bytes are known by their content, larger ones by size and time of change.
LARGEST_HASHED = 1 << 30

# The sentences of a document that is put together from successive ones: from a pair to what fills some 256 tokens.
DOCUMENT_SENTENCES = (2, 12)

# What `benchmark_patterns` keeps out: all that is measured on, and what models may be chosen by.
HELD_OUT = {
    "sts": ("test", "dev", "all"),
    "classification": ("test", "dev", "all"),
    "pairs": ("test", "dev"),
    "clustering": ("test",),
    "retrieval": ("*",),
}

# The keys of MTEB's English test and development sentences, but for those of SNLI's development part, which the
# release is trained on; benchmarks/write_benchmark_keys.py makes the file.
BENCHMARK_KEYS = Path(__file__).with_name("benchmark_keys.npy")

# "sentences" is counted only where texts are split; those dropped and kept add up to it, or else to "read", but for
# the texts that are made of sentences and kept beside them.
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


@dataclass
class CorpusArguments:
    """What of which text becomes the corpus: the options of [`build_corpus`]."""

    corpus: list[str] = field(
        default_factory=list,
        metadata={"help": "text files (a sentence a line), tables, folders, glob patterns or Hub datasets"},
    )
    text_column: str = field(default="text", metadata={"help": "the tables' column that holds the text"})
    split_sentences: str | None = field(
        default=None, metadata={"help": "split texts into sentences by the rules of this language, such as en"}
    )
    near_duplicates: float | None = field(
        default=None,
        metadata={
            "help": "leave out sentences whose word pairs overlap so much (Jaccard) with a kept one's, e.g. 0.8"
        },
    )
    min_words: int = field(default=1, metadata={"help": "leave out sentences of fewer words"})
    sentences_per_source: int = field(
        default=0, metadata={"help": "draw at most so many sentences of each file or Hub dataset (0: take all)"}
    )
    documents_per_source: int = field(
        default=0,
        metadata={"help": "add at most so many texts of 2 to 12 successive sentences of each file or Hub dataset"},
    )
    phrases_per_source: int = field(
        default=0,
        metadata={"help": "add at most so many phrases of 1 to 16 words out of each file or Hub dataset"},
    )
    crossings_per_source: int = field(
        default=0,
        metadata={
            "help": "add at most so many texts out of the beginning of one sentence and the end of another, of each "
            "file or Hub dataset"
        },
    )
    crossings: list[str] = field(
        default_factory=list,
        metadata={
            "help": "NAME=NUMBER: another number of crossings for the file of this name, e.g. captions.txt=300000; "
            "none undoes a recipe's"
        },
    )
    exclude: list[str] = field(
        default_factory=lambda: ["benchmarks"],
        metadata={
            "help": "benchmarks (MTEB's English ones, known by hashes), benchmarks:FOLDER, files, patterns: sentences "
            "that occur in them are left out; none leaves in all"
        },
    )


def corpus_options(arguments: CorpusArguments) -> dict[str, Any]:
    """The keyword arguments of [`build_corpus`] that the arguments stand for."""
    names = [option.name for option in fields(CorpusArguments) if option.name != "corpus"]
    options = {name: getattr(arguments, name) for name in names}
    return {**options, **{name: [] for name in ("exclude", "crossings") if options[name] == ["none"]}}


def benchmark_patterns(folder: Path) -> list[str]:
    """Glob patterns of the files in a folder of benchmarks whose sentences no model may be trained on.

    Args:
        folder: Holds at least one of the folders sts, classification, pairs, clustering and retrieval, whose Parquet
            files are called NAME.SPLIT.parquet.

    Raises:
        UserError: There is no such file.
    """
    patterns = [
        str(Path(glob.escape(str(folder)), kind, f"*.{split}.parquet"))
        for kind, splits in HELD_OUT.items()
        for split in splits
    ]
    if found := [pattern for pattern in patterns if glob.glob(pattern)]:
        return found
    raise UserError(f"{folder} holds no benchmarks: give a folder with files such as sts/STSBenchmark.test.parquet.")


def benchmark_keys(patterns: Iterable[str], split_sentences: str | None = None) -> set[bytes]:
    """The keys of every string, also in lists and structures, in every column of the files that the patterns name.

    Args:
        patterns: Text files or tables, as the sources of [`build_corpus`], but that of a Hub dataset the split is by
            default test; `benchmarks:FOLDER` stands for [`benchmark_patterns`] of it, and `benchmarks` for those that
            come with Asterisk, as hashes: what `evaluate_mteb.py` measures in English, as far as we have it and
            no release is trained on it.
        split_sentences: A language, to add the keys of each string's sentences.

    Raises:
        UserError: A pattern matches no file, or a file or Hub dataset cannot be read.
    """
    keys: set[bytes] = set()
    split = sentence_splitter(split_sentences) if split_sentences else None
    for file in _benchmark_files(patterns):
        if file == str(BENCHMARK_KEYS):
            keys.update(key.tobytes() for key in np.load(BENCHMARK_KEYS))
            continue
        kind = kind_of(file)
        for text in read_lines(file) if kind == ".txt" else _strings(read_rows(file, kind, split="test")):
            keys.add(sentence_key(text))
            keys.update(map(sentence_key, split(text) if split else ()))
    return keys - {sentence_key("")}


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
class Corpus:
    """A folder of Parquet shards with one column, `text`, and a manifest that says where the sentences came from.

    Attributes:
        folder: Where they lie.
        counts: How many texts were read, left out for which reason, and kept.
        rows_per_shard: The sentences of each shard.
        excluded: The benchmark files whose sentences were left out, each as its name and what tells its content.
    """

    folder: Path
    counts: dict[str, int]
    rows_per_shard: list[int]
    excluded: list[list[str]] = field(default_factory=list)

    @property
    def num_sentences(self) -> int:
        """The sentences of all shards."""
        return sum(self.rows_per_shard)

    def shard(self, index: int) -> list[str]:
        """The sentences of one shard.

        Raises:
            UserError: The shard is missing or damaged.
        """
        path = _shard_path(self.folder, index)
        remedy = f"delete {self.folder} and run the command again"
        try:
            texts = pq.read_table(path, page_checksum_verification=True).column("text").to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise UserError(
                f"{path} is missing or damaged ({' '.join(str(error).split())[:200]}); {remedy}."
            ) from None
        if len(texts) != self.rows_per_shard[index]:
            raise UserError(f"{path} holds {len(texts)} instead of {self.rows_per_shard[index]} sentences; {remedy}.")
        return texts

    def leaves_out(self, benchmark: str) -> bool:
        """Whether the sentences of a benchmark, given as one of `exclude` in [`build_corpus`], were left out."""
        return all(_identity(file) in self.excluded for file in _benchmark_files([benchmark]))


def build_corpus(
    sources: list[str],
    folder: Path,
    text_column: str = "text",
    exclude: list[str] | None = None,
    rows_per_shard: int = 65_536,
    *,
    split_sentences: str | None = None,
    near_duplicates: float | None = None,
    min_words: int = 1,
    sentences_per_source: int = 0,
    documents_per_source: int = 0,
    phrases_per_source: int = 0,
    crossings_per_source: int = 0,
    crossings: Sequence[str] = (),
    labelled: list[str] | None = None,
    measured: list[str] | None = None,
) -> Corpus:
    """Reads the sources in order and writes their distinct sentences to `folder`, unless it holds them already.

    Any number of processes may call this at once: one reads, under a lock, and the others find what it wrote.

    A source that is a local file is known by its name and content (beyond 1 GiB: size and time of change), so that a
    folder made from another is refused; a Hub dataset or URL is known by its name alone and not asked again.

    Args:
        sources: Files or fsspec URLs of files (.txt with a sentence a line, .csv, .tsv, .jsonl, .json, .parquet; all
            but the last also compressed: .gz, .xz, .bz2, .zst), folders, glob patterns, or Hub datasets as
            `[hub:]owner/name[:config[:split]]`, which are streamed; the split is by default train.
        folder: Where the shards and their manifest go.
        text_column: The column that holds the text in anything but .txt files.
        exclude: Patterns as in [`benchmark_keys`]; a sentence that occurs in those files is left out.
        rows_per_shard: Sentences of each shard but the last.
        split_sentences: The language whose rules split each text into sentences, such as en; None takes texts as they
            are.
        near_duplicates: Leaves out a sentence whose word pairs have at least this Jaccard similarity, above 0 and at
            most 1, to those of one that was kept; None leaves out only exact duplicates.
        min_words: Leaves out a sentence of fewer words.
        sentences_per_source: Draws at most so many of the distinct sentences of each file or Hub dataset, each with
            the same chance and always the same ones, in their order; 0 takes all.
        documents_per_source: Adds at most so many texts of 2 to 12 successive sentences of each file or Hub dataset,
            for a student that is to read more than single sentences.
        phrases_per_source: Adds at most so many phrases out of the sentences of each, after all the sources:
            [`asterisk.recombination.phrases`].
        crossings_per_source: Adds at most so many texts of halves of two sentences of each, likewise:
            [`asterisk.recombination.crossings`].
        crossings: "NAME=NUMBER": another number of crossings for the source whose name, as given, ends in /NAME.
        labelled: More sources, read first, of which every distinct sentence is taken, whatever `sentences_per_source`.
        measured: More to leave out, as `exclude`, but a folder that holds the corpus already serves whether or not
            they were left out of it: [`Corpus.leaves_out`] tells.

    Raises:
        UserError: A source is missing, cannot be read or has no such column; there is no sentence in them; an option
            is out of range; or `folder` holds the corpus of other sources.
    """
    if near_duplicates is not None and not 0 < near_duplicates <= 1:
        raise UserError(f"near_duplicates must be a similarity above 0 and at most 1, not {near_duplicates}.")
    if sentences_per_source < 0:
        raise UserError(
            f"sentences_per_source must be a number of sentences, or 0 for all, not {sentences_per_source}."
        )
    added = {
        "documents_per_source": documents_per_source,
        "phrases_per_source": phrases_per_source,
        "crossings_per_source": crossings_per_source,
    }
    for name, number in added.items():
        if number < 0:
            raise UserError(f"{name} must be a number of texts, or 0 for none, not {number}.")
    others = _numbers_of(crossings)
    numbers = sentences_per_source, documents_per_source, phrases_per_source
    split = sentence_splitter(split_sentences) if split_sentences else None
    files, whole = ([file for source in part for file in files_of(source)] for part in (sources, labelled or []))
    settings = {
        "sources": [_identity(file) for file in [*files, *whole]],
        "text_column": text_column,
        "exclude": [_identity(file) for file in _benchmark_files(exclude or [])],
        "rows_per_shard": rows_per_shard,
        "split_sentences": split_sentences,
        "near_duplicates": near_duplicates,
        "min_words": min_words,
        "sentences_per_source": sentences_per_source or None,
        **{name: number or None for name, number in added.items()},
        "crossings": others or None,
    }
    if missing := others.keys() - {Path(file).name for file in files}:
        raise UserError(f"crossings names {', '.join(sorted(missing))}, which none of the sources is called.")
    if corpus := _found(folder, settings):
        return corpus
    with making(folder):
        # Another process may have made it in the meantime.
        if corpus := _found(folder, settings):
            return corpus
        excluded = benchmark_keys([*(exclude or []), *(measured or [])], split_sentences)
        counts = dict.fromkeys(("read", *(["sentences"] if split else []), *DROPPED, ADDED, RECOMBINED, "kept"), 0)
        near = None if near_duplicates is None else NearDuplicates(near_duplicates)
        with appearing_folder(folder) as temporary:
            # The labelled first: of what is drawn from the others, nothing of them may depend.
            shares = [
                *((file, _Share()) for file in whole),
                *((file, _Share(*numbers, others.get(Path(file).name, crossings_per_source))) for file in files),
            ]
            chosen = _chosen(shares, text_column, split, excluded, min_words, near, counts)
            rows = _write_shards(chosen, temporary, rows_per_shard)
            counts["kept"] = sum(rows)
            if not rows:
                raise UserError(
                    f"There is no sentence to train on in {', '.join(sources)} "
                    f"({describe_counts(counts)}); give text with a sentence a line."
                )
            manifest = {
                "settings": settings,
                "measured": [_identity(file) for file in _benchmark_files(measured or [])],
                "counts": counts,
                "rows_per_shard": rows,
            }
            write_json(temporary / MANIFEST, manifest)
    return _corpus(folder, manifest)


def describe_counts(counts: dict[str, int]) -> str:
    """The counts in words, those that are not zero: "9 read, 2 blank, 7 kept"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0 read"


def _found(folder: Path, settings: dict[str, Any]) -> Corpus | None:
    """The corpus in the folder, if there is one; another one is refused."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_json(folder / MANIFEST)
    try:
        corpus = _corpus(folder, manifest)
    except (KeyError, TypeError):
        raise UserError(
            f"{folder / MANIFEST} is not the manifest of a corpus; delete {folder} and run the command again."
        ) from None
    refuse_difference(folder, manifest["settings"], settings, "give another --store_dir")
    return corpus


def _numbers_of(pairs: Sequence[str]) -> dict[str, int]:
    """Of each NAME=NUMBER the number."""
    numbers = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        if not name or not number.isdecimal():
            raise UserError(f"crossings must be given as NAME=NUMBER, such as captions.txt=300000, not {pair!r}.")
        if name in numbers:
            raise UserError(f"crossings gives two numbers for {name}; give one.")
        numbers[name] = int(number)
    return numbers


def _corpus(folder: Path, manifest: dict[str, Any]) -> Corpus:
    excluded = [*manifest["settings"]["exclude"], *manifest.get("measured", [])]
    return Corpus(folder, manifest["counts"], manifest["rows_per_shard"], excluded)


@dataclass
class _Share:
    """How many texts of a source: its sentences at most, or 0 for all, and those made of them."""

    sentences: int = 0
    documents: int = 0
    phrases: int = 0
    crossings: int = 0


def _chosen(
    shares: list[tuple[str, _Share]],
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


def _write_shards(sentences: Iterator[str], folder: Path, rows_per_shard: int) -> list[int]:
    """Writes the shards and returns the number of sentences in each."""
    rows: list[int] = []
    while shard := list(itertools.islice(sentences, rows_per_shard)):
        table = pa.table({"text": pa.array(shard, pa.large_string())})
        # Through Python's file, whose errors say in words what is wrong with the disk.
        with _shard_path(folder, len(rows)).open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        rows.append(len(shard))
    return rows


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


def _strings(value: Any) -> Iterator[str]:
    """Every string in rows, columns and what they hold."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _strings(item)


def _benchmark_files(patterns: Iterable[str]) -> list[str]:
    files = []
    for pattern in patterns:
        if pattern == "benchmarks":
            files.append(str(BENCHMARK_KEYS))
            continue
        is_folder = pattern.startswith("benchmarks:")
        parts = benchmark_patterns(Path(pattern.removeprefix("benchmarks:"))) if is_folder else [pattern]
        files += [file for part in parts for file in files_of(part)]
    return files


def _identity(file: str) -> list[str]:
    """The name of a source, and of a local file what tells its content from others."""
    path = Path(file)
    if not path.is_file():
        return [file]
    status = path.stat()
    if status.st_size > LARGEST_HASHED:
        return [path.name, f"{status.st_size} bytes of {status.st_mtime_ns}"]
    return [path.name, file_hash(path)]


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"
