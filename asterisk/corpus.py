"""Text in: files, folders and Hub datasets become shards of distinct sentences, benchmark sentences left out.

One pass, in the order of the sources: read → split into sentences (option) → drop what is blank, too long or too short
→ drop exact duplicates and benchmark sentences → drop near-duplicates (option) → Parquet shards. Memory holds one
shard and what tells duplicates: about 16 bytes a sentence, and 0.3 kB more with near-duplicates.
"""

import bisect
import glob
import hashlib
import io
import itertools
import json
import math
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from asterisk.cli import UserError
from asterisk.manifest import MANIFEST, appearing_folder, file_hash, read_json, refuse_difference, write_json

# Longer lines are binary or minified data, not text that a student of at most a few hundred tokens could read.
LONGEST_TEXT = 20_000

# Files up to this many bytes are known by their content, larger ones by size and time of change.
LARGEST_HASHED = 1 << 30

COMPRESSIONS = (".xz", ".gz", ".bz2", ".zst")
TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
SUFFIXES = (".txt", *TABLES)

# What `benchmark_patterns` keeps out: all that is measured on, and what models are chosen by.
HELD_OUT = {
    "sts": ("test", "dev", "all"),
    "classification": ("test", "dev", "all"),
    "pairs": ("test", "dev"),
    "clustering": ("test",),
    "retrieval": ("*",),
}

# "sentences" is counted only where texts are split; those dropped and kept add up to it, or else to "read".
DROPPED = ("blank", "too long", "too short", "in a benchmark", "duplicate", "near-duplicate")

_NOT_A_WORD = re.compile(r"[\W_]+")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[^:/]*){0,2}")


def sentence_key(sentence: str) -> bytes:
    """Eight bytes that are equal for sentences that differ only in case, punctuation and white space."""
    # A line of symbols alone has no words to be recognised by.
    return hashlib.blake2b(
        (_words(sentence) or sentence.strip()).encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()


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
        patterns: Glob patterns of text files or tables; `benchmarks:FOLDER` stands for [`benchmark_patterns`] of it.
        split_sentences: A language, to add the keys of each string's sentences.

    Raises:
        UserError: A pattern matches no file, or a file cannot be read.
    """
    keys: set[bytes] = set()
    split = sentence_splitter(split_sentences) if split_sentences else None
    for file in _benchmark_files(patterns):
        kind = _kind(file)
        for text in _lines(file) if kind == ".txt" else _strings(_rows(file, kind)):
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


@dataclass
class Corpus:
    """A folder of Parquet shards with one column, `text`, and a manifest that says where the sentences came from."""

    folder: Path
    counts: dict[str, int]
    rows_per_shard: list[int]

    @property
    def num_sentences(self) -> int:
        """The sentences of all shards."""
        return sum(self.rows_per_shard)

    def shard(self, index: int) -> list[str]:
        """The sentences of one shard."""
        return pq.read_table(_shard_path(self.folder, index)).column("text").to_pylist()


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
) -> Corpus:
    """Reads the sources in order and writes their distinct sentences to `folder`, unless it holds them already.

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

    Raises:
        UserError: A source is missing, cannot be read or has no such column; there is no sentence in them; an option
            is out of range; or `folder` holds the corpus of other sources.
    """
    if near_duplicates is not None and not 0 < near_duplicates <= 1:
        raise UserError(f"near_duplicates must be a similarity above 0 and at most 1, not {near_duplicates}.")
    split = sentence_splitter(split_sentences) if split_sentences else None
    files = [file for source in sources for file in _resolve(source)]
    settings = {
        "sources": [_identity(file) for file in files],
        "text_column": text_column,
        "exclude": [_identity(file) for file in _benchmark_files(exclude or [])],
        "rows_per_shard": rows_per_shard,
        "split_sentences": split_sentences,
        "near_duplicates": near_duplicates,
        "min_words": min_words,
    }
    if (folder / MANIFEST).exists():
        manifest = read_json(folder / MANIFEST)
        refuse_difference(folder, manifest["settings"], settings, "give another --store_dir")
        return Corpus(folder, manifest["counts"], manifest["rows_per_shard"])

    excluded = benchmark_keys(exclude or [], split_sentences)
    counts = dict.fromkeys(("read", *(["sentences"] if split else []), *DROPPED, "kept"), 0)
    rows: list[int] = []
    with appearing_folder(folder) as temporary, tqdm(desc="Reading text", unit=" texts", disable=None) as progress:
        texts = (text for file in files for text in read_texts(file, text_column))
        sentences = _distinct(_sentences(texts, split, counts, progress), excluded, min_words, counts)
        if near_duplicates is not None:
            sentences = _without_near_duplicates(sentences, near_duplicates, counts)
        while shard := list(itertools.islice(sentences, rows_per_shard)):
            table = pa.table({"text": pa.array(shard, pa.large_string())})
            pq.write_table(table, _shard_path(temporary, len(rows)), compression="zstd")
            rows.append(len(shard))
        counts["kept"] = sum(rows)
        if not rows:
            raise UserError(
                f"There is no sentence to train on in {', '.join(sources)} "
                f"({describe_counts(counts)}); give text with a sentence a line."
            )
        write_json(temporary / MANIFEST, {"settings": settings, "counts": counts, "rows_per_shard": rows})
    return Corpus(folder, counts, rows)


def describe_counts(counts: dict[str, int]) -> str:
    """The counts in words, those that are not zero: "9 read, 2 blank, 7 kept"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0 read"


def read_texts(file: str, text_column: str) -> Iterator[str]:
    """The texts of one file or Hub dataset, in order, as they are.

    Raises:
        UserError: The file is not UTF-8, not what its name says, or lacks the column; or a row's text is no string.
    """
    kind = _kind(file)
    if kind == ".txt":
        yield from _lines(file)
        return
    for number, row in enumerate(_rows(file, kind, text_column=text_column)):
        if text_column not in row:
            raise UserError(
                f"{file} has no column {text_column!r}; its columns are {', '.join(row)} (--text_column names one)."
            )
        text = row[text_column]
        if not isinstance(text, str):
            raise UserError(f"{file}: row {number} of column {text_column!r} holds {_short(text)} instead of text.")
        yield text


def read_columns(source: str, columns: list[str], split: str = "train") -> dict[str, list[Any]]:
    """Columns of a table in a Parquet, CSV or JSONL file, or of a Hub dataset's split.

    Args:
        source: A file, folder, glob pattern or Hub dataset, as in [`build_corpus`].
        columns: The names of the columns.
        split: The Hub dataset's split if `source` names none.

    Raises:
        UserError: The source is missing, cannot be read or lacks a column.
    """
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for file in _resolve(source):
        if (kind := _kind(file)) == ".txt":
            raise UserError(f"{file} has no columns; give a table: {', '.join(TABLES)}.")
        for row in _rows(file, kind, split):
            for column in columns:
                if column not in row:
                    raise UserError(f"{file} has no column {column!r}; its columns are {', '.join(row)}.")
                values[column].append(row[column])
    return values


class NearDuplicates:
    """Tells sentences whose sets of word pairs are alike, in one pass.

    MinHash with banding (Broder 1997; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3) proposes
    candidates; each is compared exactly, so that none is dropped that is less similar than the threshold. A band's
    table holds one sentence per slot, the latest. Together this misses one or two in a hundred from a threshold of 0.7
    upwards, and more below: one in seven at 0.5.

    Memory: 4 bytes a word pair, 8 a sentence, and 16 tables of 4 bytes in the two to four slots there are a sentence:
    0.2 to 0.3 kB a sentence of English.
    """

    BANDS = 16
    CHUNK = 4_096

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        # As many minima a band as let all bands miss a pair at the threshold once in a hundred; more cost only time.
        wanted = 1 - 0.01 ** (1 / self.BANDS)
        self.rows = max(2, min(8, round(math.log(wanted) / math.log(threshold)))) if threshold < 1 else 8
        random = np.random.default_rng(0)
        self.multipliers = random.integers(1 << 63, size=self.BANDS * self.rows, dtype=np.uint64) * 2 + 1
        self.pairs = array("I")  # the hashed word pairs of all sentences that were kept
        self.ends = array("Q", [0])
        self.tables = np.full((self.BANDS, 4 * self.CHUNK), -1, np.int32)

    def unlike(self, sentences: list[str]) -> list[str]:
        """Those of at most CHUNK sentences that are unlike each other and all that earlier calls returned."""
        while 2 * (len(self.ends) + len(sentences)) > self.tables.shape[1]:
            self._grow()
        pairs, ends = _word_pairs(sentences)
        bands, slots = np.arange(self.BANDS), self._slots(pairs, ends)
        kept = []
        for row, sentence in enumerate(sentences):
            own = pairs[ends[row] : ends[row + 1]]
            candidates = set(self.tables[bands, slots[row]].tolist()) - {-1}
            if not candidates or not self._any_alike(set(own.tolist()), candidates):
                self.tables[bands, slots[row]] = len(self.ends) - 1
                self.pairs.frombytes(own.tobytes())
                self.ends.append(len(self.pairs))
                kept.append(sentence)
        return kept

    def _any_alike(self, own: set[int], candidates: set[int]) -> bool:
        for candidate in candidates:
            other = set(self.pairs[self.ends[candidate] : self.ends[candidate + 1]])
            if len(own & other) >= self.threshold * len(own | other):
                return True
        return False

    def _slots(self, pairs: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Each sentence's slot in each band's table."""
        keys = np.zeros((len(ends) - 1, self.BANDS), np.uint64)
        wide = pairs.astype(np.uint64)
        for index, multiplier in enumerate(self.multipliers):
            mixed = wide * multiplier
            mixed ^= mixed >> np.uint64(29)
            minima = np.minimum.reduceat(mixed * multiplier >> np.uint64(32), ends[:-1])
            band = keys[:, index // self.rows]
            band ^= minima
            band *= self.multipliers[0]
            band ^= band >> np.uint64(32)
        return (keys & np.uint64(self.tables.shape[1] - 1)).astype(np.int64)

    def _grow(self) -> None:
        self.tables = np.full((self.BANDS, 2 * self.tables.shape[1]), -1, np.int32)
        for first in range(0, len(self.ends) - 1, self.CHUNK):
            ends = np.array(self.ends[first : first + self.CHUNK + 1], np.int64)
            pairs = np.array(self.pairs[ends[0] : ends[-1]], np.uint32)
            rows = np.arange(first, first + len(ends) - 1)
            self.tables[np.arange(self.BANDS), self._slots(pairs, ends - ends[0])] = rows[:, None]


class _Keys:
    """A growing set of eight-byte keys at about 10 bytes each, where a set of Python's takes 100."""

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def add(self, key: bytes) -> bool:
        """Adds a key; false if it was there."""
        number = int.from_bytes(key)
        place = bisect.bisect_left(self._sorted, number)
        if number in self._recent or (place < len(self._sorted) and self._sorted[place] == number):
            return False
        self._recent.add(number)
        # In proportion, so that merging stays cheap however many there are.
        if len(self._recent) > max(1 << 14, len(self._sorted) // 32):
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            merged = np.concatenate([np.frombuffer(self._sorted, np.uint64), recent])
            merged.sort(kind="stable")
            self._sorted = array("Q")
            self._sorted.frombytes(merged.data.cast("B"))
            self._recent.clear()
        return True


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


def _distinct(sentences: Iterable[str], excluded: set[bytes], min_words: int, counts: dict[str, int]) -> Iterator[str]:
    seen = _Keys()
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


def _without_near_duplicates(sentences: Iterator[str], threshold: float, counts: dict[str, int]) -> Iterator[str]:
    near = NearDuplicates(threshold)
    while chunk := list(itertools.islice(sentences, near.CHUNK)):
        kept = near.unlike(chunk)
        counts["near-duplicate"] += len(chunk) - len(kept)
        yield from kept


def _word_pairs(sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all sentences' neighbouring words, uint32, and where each sentence's begin and end, int64.

    The first word is paired with a mark, so that a sentence has as many pairs as words, and at least one.
    """
    hashes, ends = array("I"), np.zeros(len(sentences) + 1, np.int64)
    for row, sentence in enumerate(sentences):
        hashes.extend(map(zlib.crc32, (_words(sentence) or sentence).encode("utf-8", "surrogatepass").split()))
        ends[row + 1] = len(hashes)
    words = np.array(hashes, np.uint64)
    earlier = np.roll(words, 1)
    earlier[ends[:-1]] = 0
    return ((earlier * np.uint64(0x9E3779B97F4A7C15) + words * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(32)).astype(
        np.uint32
    ), ends


def _words(sentence: str) -> str:
    return _NOT_A_WORD.sub(" ", sentence.casefold()).strip()


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    """A file or URL, compressed or not, as UTF-8 text."""
    is_zstd = file.lower().endswith(".zst")
    with fsspec.open(file, "rb", compression=None if is_zstd else "infer") as stored:
        # zstandard, which fsspec would use, takes a cut file for a whole one.
        content = pa.CompressedInputStream(stored, "zstd") if is_zstd else stored
        with io.TextIOWrapper(content, encoding="utf-8-sig") as text:
            yield text


def _lines(file: str) -> Iterator[str]:
    try:
        with _opened(file) as lines:
            yield from (line.rstrip("\n") for line in lines)
    except Exception as error:  # each kind of compression has errors of its own
        raise _unreadable(file, error) from None


def _rows(
    file: str, kind: str | None, split: str = "train", text_column: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a table; of a Parquet file only `text_column`, if it has it, and of a CSV file that as text."""
    if kind == ".jsonl":
        for number, line in enumerate(_lines(file)):
            if line.strip():
                yield _json_object(file, number, line)
        return
    try:
        if kind == ".parquet":
            with fsspec.open(file) as content:
                table = pq.ParquetFile(content)
                columns = [text_column] if text_column in table.schema_arrow.names else None
                for batch in table.iter_batches(8_192, columns=columns):
                    yield from batch.to_pylist()
        elif kind in (".csv", ".tsv"):
            # Not pandas' defaults: with them a sentence "NA" or "2024" would be no text.
            text = {text_column: str} if text_column else None
            options = {"sep": "\t" if kind == ".tsv" else ",", "keep_default_na": False, "converters": text}
            with _opened(file) as content, pd.read_csv(content, chunksize=8_192, **options) as chunks:
                for chunk in chunks:
                    if not isinstance(chunk.index, pd.RangeIndex):  # pandas takes surplus fields for row names
                        raise ValueError("rows have more fields than the header; quote text that has the separator")
                    yield from chunk.to_dict("records")
        else:
            yield from _streamed(file, kind, split)
    except Exception as error:  # as many kinds as there are formats and places
        raise _unreadable(file, error) from None


def _streamed(file: str, kind: str | None, split: str) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset  # takes seconds to import

    if kind == ".json":
        return load_dataset("json", data_files=file, split="train", streaming=True)
    name, config, own_split, *_ = [*file.removeprefix("hub:").split(":"), "", ""]
    return load_dataset(name, config or None, split=own_split or split, streaming=True)


def _json_object(file: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():  # half of a surrogate pair can be written in JSON, but not stored
            json.dumps(row, ensure_ascii=False).encode()
    except ValueError as error:
        raise UserError(f"{file}: line {number + 1} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise UserError(f"{file}: line {number + 1} must hold a JSON object, not {_short(row)}.")
    return row


def _unreadable(file: str, error: Exception) -> UserError:
    if isinstance(error, UnicodeDecodeError):
        return UserError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.")
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if _kind(file) is None:
        hint = "" if file.startswith("hub:") else f"There is no file or folder {file}, and "
        return UserError(f"{hint}the Hub dataset {file.removeprefix('hub:')} cannot be read: {reason[:400]}.")
    return UserError(f"{file} cannot be read: {reason[:400]}.")


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
        is_folder = pattern.startswith("benchmarks:")
        for part in benchmark_patterns(Path(pattern.removeprefix("benchmarks:"))) if is_folder else [pattern]:
            found = sorted(path for path in glob.glob(part, recursive=True) if Path(path).is_file() and _kind(path))
            if not found:
                raise UserError(
                    f"No benchmark file matches {part!r}; "
                    f"give tables ({', '.join(TABLES)}) whose sentences are to be left out, or benchmarks:FOLDER."
                )
            files += found
    return files


def _resolve(source: str) -> list[str]:
    """The files that a source stands for; a URL or a Hub dataset stands for itself."""
    path = Path(source)
    if source.startswith("hub:") or "://" in source or path.is_file():
        name = source.removeprefix("hub:")
        if name != source and not _HUB_NAME.fullmatch(name):
            raise UserError(
                f"{source} is no Hub dataset: give hub:owner/name, hub:owner/name:config or …:config:split."
            )
        if name == source and not _kind(source):
            raise UserError(f"{source} is no corpus: give a folder, or a file that ends in {', '.join(SUFFIXES)}.")
        return [source]
    if path.is_dir():
        # A corpus of ours has a manifest beside its shards.
        found = [str(file) for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST]
        found = [file for file in found if _kind(file) and "/." not in file.removeprefix(source)]
        if not found:
            raise UserError(f"{source} holds no text: give a folder with {', '.join(SUFFIXES)} files.")
        return found
    if glob.has_magic(source):
        found = sorted(file for file in glob.glob(source, recursive=True) if Path(file).is_file() and _kind(file))
        if not found:
            raise UserError(f"No {', '.join(SUFFIXES)} file matches {source!r}.")
        return found
    if _kind(source):
        raise UserError(f"There is no file {source}; give a text file, a folder, a glob pattern or a Hub dataset.")
    if path.exists() or source.startswith((".", "/")) or not _HUB_NAME.fullmatch(source):
        raise UserError(f"{source} is no corpus: give a folder, or a file that ends in {', '.join(SUFFIXES)}.")
    return [source]


def _kind(file: str) -> str | None:
    """The suffix that tells how to read a file, or None if it is none of those we read."""
    if file.startswith("hub:"):
        return None
    path = Path(file.partition("?")[0] if "://" in file else file)
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = Path(path.stem).suffix.lower()
        return suffix if suffix != ".parquet" and suffix in SUFFIXES else None
    return suffix if suffix in SUFFIXES else None


def _identity(file: str) -> list[str]:
    """The name of a source, and of a local file what tells its content from others."""
    path = Path(file)
    if not path.is_file():
        return [file]
    status = path.stat()
    if status.st_size > LARGEST_HASHED:
        return [path.name, f"{status.st_size} bytes of {status.st_mtime_ns}"]
    return [path.name, file_hash(path)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"
