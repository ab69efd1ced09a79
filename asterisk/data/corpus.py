"""Text in: files, folders and Hub datasets become shards of distinct sentences, benchmark sentences left out.

One pass, in the order of the sources: read, choose, put together (`asterisk.data.sentences`), write shards. Memory
holds one shard, one source's share, the sentences to recombine, and what tells duplicates: about 16 bytes a sentence,
and 0.3 kB more with near-duplicates.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError, redact
from asterisk.core.files import MANIFEST, atomic_folder, read_json, write_json
from asterisk.core.locks import creation_lock, remove_lock
from asterisk.core.run_folder import refuse_difference
from asterisk.data.arguments import CorpusArguments
from asterisk.data.decontamination import benchmark_files, benchmark_keys
from asterisk.data.deduplication import NearDuplicates
from asterisk.data.readers import files_of
from asterisk.data.sentences import ADDED, DROPPED, RECOMBINED, Share, chosen_texts, sentence_splitter

# Files up to this many bytes are known by their content, larger ones by size and time of change.
LARGEST_HASHED = 1 << 30


def corpus_options(arguments: CorpusArguments) -> dict[str, Any]:
    """The keyword arguments of [`build_corpus`] that the arguments stand for."""
    names = [option.name for option in fields(CorpusArguments) if option.name != "corpus"]
    options = {name: getattr(arguments, name) for name in names}
    return {**options, **{name: [] for name in ("exclude", "crossings") if options[name] == ["none"]}}


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
        return all(_identity(file) in self.excluded for file in benchmark_files([benchmark]))


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
    folder made from another is refused; a Hub dataset or URL is known by its name alone, and that without password and
    the values of its query, and not asked again.

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
            [`asterisk.data.recombination.phrases`].
        crossings_per_source: Adds at most so many texts of halves of two sentences of each, likewise:
            [`asterisk.data.recombination.crossings`].
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
        "exclude": [_identity(file) for file in benchmark_files(exclude or [])],
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
        remove_lock(folder)
        return corpus
    with creation_lock(folder):
        # Another process may have made it in the meantime.
        if corpus := _found(folder, settings):
            return corpus
        excluded = benchmark_keys([*(exclude or []), *(measured or [])], split_sentences)
        counts = dict.fromkeys(("read", *(["sentences"] if split else []), *DROPPED, ADDED, RECOMBINED, "kept"), 0)
        near = None if near_duplicates is None else NearDuplicates(near_duplicates)
        with atomic_folder(folder) as temporary:
            # The labelled first: of what is drawn from the others, nothing of them may depend.
            shares = [
                *((file, Share()) for file in whole),
                *((file, Share(*numbers, others.get(Path(file).name, crossings_per_source))) for file in files),
            ]
            chosen = chosen_texts(shares, text_column, split, excluded, min_words, near, counts)
            rows = _write_shards(chosen, temporary, rows_per_shard)
            counts["kept"] = sum(rows)
            if not rows:
                raise UserError(
                    f"There is no sentence to train on in {', '.join(sources)} "
                    f"({describe_counts(counts)}); give text with a sentence a line."
                )
            manifest = {
                "settings": settings,
                "measured": [_identity(file) for file in benchmark_files(measured or [])],
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


def _identity(file: str) -> list[str]:
    """The name of a source, and of a local file what tells its content from others."""
    path = Path(file)
    if not path.is_file():
        return [redact(file)]
    status = path.stat()
    if status.st_size > LARGEST_HASHED:
        return [path.name, f"{status.st_size} bytes of {status.st_mtime_ns}"]
    return [path.name, file_hash(path)]


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"
