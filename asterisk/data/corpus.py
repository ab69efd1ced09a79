"""Build a corpus: shards of distinct sentences from files, folders and Hub datasets, without benchmark sentences.

One pass over the sources reads, selects (`asterisk.data.sentences`) and writes shards. Memory holds one shard, one
source's share, the sentences to recombine, and about 10 bytes per sentence for deduplication.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError, one_line, redact
from asterisk.core.files import MANIFEST, atomic_folder, read_json, write_json
from asterisk.core.locks import creation_lock, remove_lock
from asterisk.core.run_folder import refuse_difference
from asterisk.data.arguments import CorpusArguments, FileFormat
from asterisk.data.decontamination import benchmark_files, benchmark_keys
from asterisk.data.readers import files_of
from asterisk.data.sentences import ADDED, DROPPED, RECOMBINED, Share, select_sentences, sentence_splitter

# Files up to this many bytes are identified by their content, larger ones by size and modification time.
MAX_HASHED_BYTES = 1 << 30
ROWS_PER_SHARD = 65_536


def corpus_options(arguments: CorpusArguments) -> dict[str, Any]:
    """Convert command-line arguments to keyword arguments of [`build_corpus`]."""
    formats = {option.name: getattr(arguments, option.name) for option in dataclasses.fields(FileFormat)}
    names = {option.name for option in dataclasses.fields(CorpusArguments)} - formats.keys() - {"corpus"}
    options = {name: getattr(arguments, name) for name in names}
    cleared: dict[str, Any] = {name: [] for name in ("exclude", "crossings") if options[name] == ["none"]}
    return {**options, **cleared, "file_format": FileFormat(**formats)}


@dataclass
class Corpus:
    """A folder of Parquet shards with one column, `text`, and a manifest that records the sources.

    Attributes:
        folder: The folder of the shards.
        counts: The numbers of texts that were read, dropped for each reason, and kept.
        rows_per_shard: The number of sentences in each shard.
        excluded: The identities of the benchmark files whose sentences were left out.
    """

    folder: Path
    counts: dict[str, int]
    rows_per_shard: list[int]
    excluded: list[list[str]] = field(default_factory=list)

    @property
    def num_sentences(self) -> int:
        """Number of sentences in all shards."""
        return sum(self.rows_per_shard)

    def shard(self, index: int) -> list[str]:
        """Read the sentences of one shard.

        Raises:
            UserError: The shard is missing or damaged.
        """
        path = _shard_path(self.folder, index)
        remedy = f"delete {self.folder} and run the command again"
        try:
            texts = pq.read_table(path, page_checksum_verification=True).column("text").to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise UserError(f"{path} is missing or damaged ({one_line(error)}); {remedy}.") from None
        if len(texts) != self.rows_per_shard[index]:
            raise UserError(f"{path} holds {len(texts)} instead of {self.rows_per_shard[index]} sentences; {remedy}.")
        return texts

    def leaves_out(self, benchmark: str) -> bool:
        """Return whether a benchmark's sentences were left out; `benchmark` is as in `exclude` of [`build_corpus`]."""
        return all(_identity(file) in self.excluded for file in benchmark_files([benchmark]))


def build_corpus(
    sources: list[str],
    folder: Path,
    text_column: str = "text",
    exclude: list[str] | None = None,
    rows_per_shard: int = 0,
    *,
    split_sentences: str | None = None,
    min_words: int = 1,
    sentences_per_source: int = 0,
    documents_per_source: int = 0,
    phrases_per_source: int = 0,
    crossings_per_source: int = 0,
    crossings: Sequence[str] = (),
    labelled: list[str] | None = None,
    measured: list[str] | None = None,
    file_format: FileFormat | None = None,
) -> Corpus:
    """Write the distinct sentences of the sources to `folder`, unless it already holds them.

    Any number of processes may call this at once: one builds the corpus under a lock, and the others reuse it.

    A folder made from other sources is refused. A local file is identified by its name and content (above 1 GiB: by
    name, size and modification time), a Hub dataset or URL by its name alone, without password and query values.

    Args:
        sources: Files or fsspec URLs of files (.txt with a sentence per line, .csv, .tsv, .jsonl, .json, .parquet; all
            but the last also compressed: .gz, .xz, .bz2, .zst), folders, glob patterns, or Hub datasets as
            `[hub:]owner/name[:config[:split]]`, which are streamed; the default split is train.
        folder: Folder of the shards and their manifest.
        text_column: Column that holds the text in tables.
        exclude: Patterns as for [`benchmark_keys`]; sentences in those files are left out.
        rows_per_shard: Number of sentences in each shard except the last; 0 means 65,536.
        split_sentences: Language whose rules split each text into sentences, such as en; None keeps texts whole.
        min_words: Sentences with fewer words are left out.
        sentences_per_source: Maximum number of distinct sentences from each file or Hub dataset: a reproducible
            uniform sample in the original order; 0 takes all.
        documents_per_source: Maximum number of texts of 2 to 12 successive sentences added from each source, for a
            student that reads longer texts.
        phrases_per_source: Maximum number of phrases added from each source, at the end of the corpus; see
            [`asterisk.data.recombination.make_phrases`].
        crossings_per_source: Maximum number of crossings added from each source, at the end of the corpus; see
            [`asterisk.data.recombination.make_crossings`].
        crossings: "NAME=NUMBER" overrides `crossings_per_source` for the source with this file name.
        labelled: Further sources, read first; all their distinct sentences are taken.
        measured: Further patterns to exclude. An existing corpus that was built without them is reused nevertheless;
            check it with [`Corpus.leaves_out`].
        file_format: Overrides for the detected file format.

    Returns:
        The corpus in `folder`.

    Raises:
        UserError: A source is missing, cannot be read or lacks the column; the sources hold no sentence; an option is
            out of range; or `folder` holds another corpus.
    """
    added = {
        "documents_per_source": documents_per_source,
        "phrases_per_source": phrases_per_source,
        "crossings_per_source": crossings_per_source,
    }
    limits = {"rows_per_shard": rows_per_shard, "sentences_per_source": sentences_per_source, **added}
    for name, number in limits.items():
        if number < 0:
            raise UserError(f"{name} must be 0 or a number of texts, not {number}.")
    crossings_of = _crossings_by_name(crossings)
    rows_per_shard = rows_per_shard or ROWS_PER_SHARD
    split = sentence_splitter(split_sentences) if split_sentences else None
    files = [file for source in sources for file in files_of(source)]
    labelled_files = [file for source in labelled or [] for file in files_of(source)]
    file_format = file_format or FileFormat()
    settings = {
        "sources": [_identity(file) for file in [*files, *labelled_files]],
        "text_column": text_column,
        "exclude": [_identity(file) for file in benchmark_files(exclude or [])],
        "rows_per_shard": rows_per_shard,
        "split_sentences": split_sentences,
        "min_words": min_words,
        "sentences_per_source": sentences_per_source or None,
        **{name: number or None for name, number in added.items()},
        "crossings": crossings_of or None,
        **{name: value for name, value in dataclasses.asdict(file_format).items() if value},
    }
    if unknown := crossings_of.keys() - {Path(file).name for file in files}:
        raise UserError(f"crossings names {', '.join(sorted(unknown))}, but no source has this file name.")
    if corpus := _find_corpus(folder, settings):
        remove_lock(folder)
        return corpus
    with creation_lock(folder):
        # Another process may have built it in the meantime.
        if corpus := _find_corpus(folder, settings):
            return corpus
        excluded = benchmark_keys([*(exclude or []), *(measured or [])], split_sentences)
        counts = dict.fromkeys(("read", *(["sentences"] if split else []), *DROPPED, ADDED, RECOMBINED, "kept"), 0)
        # Read labelled texts first, so that they never depend on sampling.
        shares = [(file, Share()) for file in labelled_files]
        for file in files:
            number = crossings_of.get(Path(file).name, crossings_per_source)
            shares.append((file, Share(sentences_per_source, documents_per_source, phrases_per_source, number)))
        with atomic_folder(folder) as temporary:
            selected = select_sentences(shares, text_column, split, excluded, min_words, counts, file_format)
            rows = _write_shards(selected, temporary, rows_per_shard)
            counts["kept"] = sum(rows)
            if not rows:
                raise UserError(
                    f"There is no sentence to train on in {', '.join(sources)} "
                    f"({describe_counts(counts)}); give text with a sentence per line."
                )
            manifest = {
                "settings": settings,
                "measured": [_identity(file) for file in benchmark_files(measured or [])],
                "counts": counts,
                "rows_per_shard": rows,
            }
            write_json(temporary / MANIFEST, manifest)
    return _corpus(folder, manifest)


def load_corpus(folder: Path) -> Corpus:
    """Load a corpus that [`build_corpus`] wrote, from any sources.

    Raises:
        UserError: The folder holds no corpus.
    """
    manifest = read_json(folder / MANIFEST)
    try:
        return _corpus(folder, manifest)
    except (KeyError, TypeError):
        raise UserError(
            f"{folder / MANIFEST} is not the manifest of a corpus; delete {folder} and run the command again."
        ) from None


def describe_counts(counts: dict[str, int]) -> str:
    """Format the counts above zero, such as "9 read, 2 blank, 7 kept"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0 read"


def _find_corpus(folder: Path, settings: dict[str, Any]) -> Corpus | None:
    """Return the corpus in the folder, if there is one; refuse it if its settings differ."""
    if not (folder / MANIFEST).exists():
        return None
    corpus = load_corpus(folder)
    refuse_difference(folder, read_json(folder / MANIFEST)["settings"], settings, "give another --store_dir")
    return corpus


def _crossings_by_name(pairs: Sequence[str]) -> dict[str, int]:
    """Parse NAME=NUMBER pairs into the number of crossings by file name."""
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
    """Write the shards; return the number of sentences in each."""
    rows: list[int] = []
    while shard := list(itertools.islice(sentences, rows_per_shard)):
        table = pa.table({"text": pa.array(shard, pa.large_string())})
        # A Python file object raises readable errors for a full or broken disk.
        with _shard_path(folder, len(rows)).open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        rows.append(len(shard))
    return rows


def _identity(file: str) -> list[str]:
    """Return the name of a source; for a local file also its hash or, if it is large, its size and time."""
    path = Path(file)
    if not path.is_file():
        return [redact(file)]
    status = path.stat()
    if status.st_size > MAX_HASHED_BYTES:
        return [path.name, f"{status.st_size} bytes of {status.st_mtime_ns}"]
    return [path.name, file_hash(path)]


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"
