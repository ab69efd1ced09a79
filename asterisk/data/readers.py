"""Texts and tables of any kind: files, compressed or not, folders, glob patterns, URLs and Hub datasets."""

import glob
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST

COMPRESSIONS = (".xz", ".gz", ".bz2", ".zst")
TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
SUFFIXES = (".txt", *TABLES)

# A longer line is no sentence, nor a row of a table.
LONGEST_LINE = 1 << 24

# Rows of a CSV file that are read at a time, and their bytes at most: where a quote is left open, the file is one row.
CSV_ROWS, CSV_BYTES = 512, 1 << 26

# A few compressed kilobytes can stand for more than memory holds. Text becomes some ten times smaller, so that what
# becomes so many times larger is none; up to these bytes nobody asks.
MOST_EXPANSION, FREE_BYTES = 200, 1 << 24

# What a value of a Parquet file takes once it is read, however few bytes many equal ones take in the file.
VALUE_BYTES = 8

# Bytes of rows that are made Python's at a time, and what each takes beside its strings, roughly.
PIECE_BYTES, ROW_BYTES = 1 << 26, 64

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[^:/]*){0,2}")


def read_texts(file: str, text_column: str) -> Iterator[str]:
    """The texts of one file or Hub dataset, in order, as they are.

    Raises:
        UserError: The file is not UTF-8, not what its name says, or lacks the column; or a row's text is no string.
    """
    kind = kind_of(file)
    if kind == ".txt":
        yield from read_lines(file)
        return
    for number, row in enumerate(read_rows(file, kind, text_column=text_column)):
        if text_column not in row:
            raise UserError(
                f"{file} has no column {text_column!r}; its columns are {', '.join(row)} (--text_column names one)."
            )
        text = row[text_column]
        if not isinstance(text, str):
            raise UserError(f"{file}: row {number} of column {text_column!r} holds {short(text)} instead of text.")
        yield text


def read_columns(source: str, columns: list[str], split: str = "train") -> dict[str, list[Any]]:
    """Columns of a table in a Parquet, CSV or JSONL file, or of a Hub dataset's split.

    Args:
        source: A file, folder, glob pattern or Hub dataset, as in `build_corpus`.
        columns: The names of the columns.
        split: The Hub dataset's split if `source` names none.

    Raises:
        UserError: The source is missing, cannot be read or lacks a column.
    """
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for file in files_of(source):
        if (kind := kind_of(file)) == ".txt":
            raise UserError(f"{file} has no columns; give a table: {', '.join(TABLES)}.")
        for row in read_rows(file, kind, split):
            for column in columns:
                if column not in row:
                    raise UserError(f"{file} has no column {column!r}; its columns are {', '.join(row)}.")
                values[column].append(row[column])
    return values


def files_of(source: str) -> list[str]:
    """The files that a file, folder or glob pattern stands for; a URL or a Hub dataset stands for itself.

    Raises:
        UserError: There is no such file, or none of a kind that is read.
    """
    path = Path(source)
    if source.startswith("hub:") or "://" in source or path.is_file():
        name = source.removeprefix("hub:")
        if name != source and not _HUB_NAME.fullmatch(name):
            raise UserError(
                f"{source} is no Hub dataset: give hub:owner/name, hub:owner/name:config or …:config:split."
            )
        if name == source and not kind_of(source):
            raise UserError(f"{source} is no corpus: give a folder, or a file that ends in {', '.join(SUFFIXES)}.")
        return [source]
    if path.is_dir():
        # A corpus of ours has a manifest beside its shards.
        found = [str(file) for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST]
        found = [file for file in found if kind_of(file) and "/." not in file.removeprefix(source)]
        if not found:
            raise UserError(f"{source} holds no text: give a folder with {', '.join(SUFFIXES)} files.")
        return found
    if glob.has_magic(source):
        found = sorted(file for file in glob.glob(source, recursive=True) if Path(file).is_file() and kind_of(file))
        if not found:
            raise UserError(f"No {', '.join(SUFFIXES)} file matches {source!r}.")
        return found
    if kind_of(source):
        raise UserError(f"There is no file {source}; give a text file, a folder, a glob pattern or a Hub dataset.")
    if path.exists() or source.startswith((".", "/")) or not _HUB_NAME.fullmatch(source):
        raise UserError(f"{source} is no corpus: give a folder, or a file that ends in {', '.join(SUFFIXES)}.")
    return [source]


def kind_of(file: str) -> str | None:
    """The suffix that tells how to read a file, or None if it is none of those we read."""
    if file.startswith("hub:"):
        return None
    path = Path(file.partition("?")[0] if "://" in file else file)
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = Path(path.stem).suffix.lower()
        return suffix if suffix != ".parquet" and suffix in SUFFIXES else None
    return suffix if suffix in SUFFIXES else None


def read_lines(file: str) -> Iterator[str]:
    """The lines of a text file or URL, compressed or not.

    Raises:
        UserError: It cannot be read or is not UTF-8.
    """
    try:
        with _opened(file) as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), "")):
                if len(line) == LONGEST_LINE and line[-1] != "\n":
                    raise ValueError(f"line {number + 1:,} has more than {LONGEST_LINE:,} characters; break it up")
                yield line.rstrip("\n")
    except Exception as error:  # each kind of compression has errors of its own
        raise _unreadable(file, error) from None


def read_rows(
    file: str, kind: str | None, split: str = "train", text_column: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a table; of a Parquet file only `text_column`, if it has it, and of a CSV file that as text.

    Args:
        file: A file, URL or Hub dataset.
        kind: What [`kind_of`] says of it.
        split: Of a Hub dataset that names none.
        text_column: The column that is wanted, if only one is.

    Raises:
        UserError: It cannot be read, or is not what its name says.
    """
    if kind in (".json", ".jsonl"):
        yield from _json_rows(file, kind)
        return
    try:
        if kind == ".parquet":
            yield from _parquet_rows(file, text_column)
        elif kind in (".csv", ".tsv"):
            yield from _csv_rows(file, kind, text_column)
        else:
            yield from _streamed(file, split)
    except Exception as error:  # as many kinds as there are formats and places
        raise _unreadable(file, error) from None


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    """A file or URL, compressed or not, as UTF-8 text."""
    is_zstd = file.lower().endswith(".zst")
    with fsspec.open(file, "rb", compression=None if is_zstd else "infer") as stored:
        # zstandard, which fsspec would use, takes a cut file for a whole one.
        content = pa.CompressedInputStream(stored, "zstd") if is_zstd else stored
        most = None
        if file.lower().endswith(COMPRESSIONS) and Path(file).is_file():
            most = _most_bytes(Path(file).stat().st_size)
        with io.TextIOWrapper(io.BufferedReader(_Counted(content, most), 1 << 18), encoding="utf-8-sig") as text:
            yield text


class _Counted(io.RawIOBase):
    """Bytes of a file, decompressed, until there are too many: in all, or since `since_rows` was last set to 0."""

    def __init__(self, content: IO[bytes], most: int | None):
        self._content, self._most, self._total = content, most, 0
        self.since_rows: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._content.read(len(buffer))
        buffer[: len(part)] = part
        self._total += len(part)
        _refuse_bomb(self._total, self._most)
        if self.since_rows is not None:
            self.since_rows += len(part)
            if self.since_rows > CSV_BYTES:
                raise ValueError(
                    f"{CSV_ROWS:,} rows have more than {CSV_BYTES:,} bytes; a quotation mark may be left open"
                )
        return len(part)


def _most_bytes(stored: int) -> int:
    """How many bytes a compressed file may stand for."""
    return max(FREE_BYTES, MOST_EXPANSION * stored)


def _refuse_bomb(size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise ValueError(
            f"it stands for more than {most:,} bytes, over {MOST_EXPANSION} times its own; text does not compress so"
        )


def _csv_rows(file: str, kind: str, text_column: str | None) -> Iterator[dict[str, Any]]:
    # Not pandas' defaults: with them a sentence "NA" or "2024" would be no text.
    text = {text_column: str} if text_column else None
    options: dict[str, Any] = {"sep": "\t" if kind == ".tsv" else ",", "keep_default_na": False, "converters": text}
    with _opened(file) as content:
        counted = content.buffer.raw  # type: ignore[attr-defined]
        counted.since_rows = 0
        with pd.read_csv(content, chunksize=CSV_ROWS, **options) as chunks:
            for chunk in chunks:
                counted.since_rows = 0
                if not isinstance(chunk.index, pd.RangeIndex):  # pandas takes surplus fields for row names
                    raise ValueError("rows have more fields than the header; quote text that has the separator")
                yield from chunk.to_dict("records")


def _parquet_rows(file: str, text_column: str | None) -> Iterator[dict[str, Any]]:
    with fsspec.open(file) as content:
        most = _most_bytes(content.seek(0, io.SEEK_END))
        content.seek(0)
        metadata = pq.read_metadata(content)
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            _refuse_bomb(max(group.total_byte_size, VALUE_BYTES * group.num_rows * group.num_columns), most)
        # A string that is stored once and stands in many rows is one in memory, too, until they are made Python's.
        fields = [metadata.schema.column(index) for index in range(metadata.num_columns)]
        strings = [field.path for field in fields if field.logical_type.type == "STRING"]
        table = pq.ParquetFile(content, metadata=metadata, read_dictionary=strings)
        _refuse_long_lists(table, [index for index, field in enumerate(fields) if field.max_repetition_level], most)
        columns = [text_column] if text_column in table.schema_arrow.names else None
        size, found = 0, 0
        for batch in table.iter_batches(8_192, columns=columns):
            found += len(batch)
            rows = max(1, PIECE_BYTES // max(1, batch.nbytes))
            for first in range(0, len(batch), rows):
                piece = batch.slice(first, rows).to_pylist()
                values = (value for row in piece for value in row.values() if isinstance(value, (str, list)))
                size += ROW_BYTES * len(piece) + sum(map(len, values))
                _refuse_bomb(size, most)
                yield from piece
        if found != metadata.num_rows:
            raise ValueError(f"it holds {found:,} rows, but its footer says {metadata.num_rows:,}; it is damaged")


def _refuse_long_lists(table: pq.ParquetFile, lists: list[int], most: int) -> None:
    """Refuses a Parquet file of which some columns, by number, hold more items than memory is for."""
    if lists:
        # Of a column that is damaged this raises an error, where looking at its metadata would end the process.
        table.scan_contents([table.metadata.schema.column(index).path for index in lists])
    for group in map(table.metadata.row_group, range(table.num_row_groups)):
        _refuse_bomb(VALUE_BYTES * sum(group.column(index).num_values for index in lists), most)


def _streamed(name: str, split: str) -> Iterable[dict[str, Any]]:
    from datasets import load_dataset  # takes seconds to import

    name, config, own_split, *_ = [*name.removeprefix("hub:").split(":"), "", ""]
    return load_dataset(name, config or None, split=own_split or split, streaming=True)


def _json_rows(file: str, kind: str) -> Iterator[dict[str, Any]]:
    """The objects of a file: one a line or, in a .json file, those of a list, which is read whole."""
    if kind == ".jsonl" or (items := _json_list(file)) is None:
        for number, line in enumerate(read_lines(file), 1):
            if line.strip():
                yield _json_object(f"{file}: line {number}", line)
        return
    for number, item in enumerate(items):
        yield _object(f"{file}: item {number}", item)


def _json_list(file: str) -> list[Any] | None:
    """The list that a file holds; None if it begins otherwise."""
    try:
        with _opened(file) as text:
            start = text.read(1 << 10)
            return _parsed_json(start + text.read()) if start.lstrip().startswith("[") else None
    except Exception as error:  # each kind of compression has errors of its own
        raise _unreadable(file, error) from None


def _json_object(where: str, line: str) -> dict[str, Any]:
    try:
        row = _parsed_json(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {error}.") from None
    return _object(where, row)


def _parsed_json(text: str) -> Any:
    value = json.loads(text)
    if "\\ud" in text.lower():  # half of a surrogate pair can be written in JSON, but not stored
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must hold a JSON object, not {short(value)}.")
    return value


def _unreadable(file: str, error: Exception) -> UserError:
    if isinstance(error, UnicodeDecodeError):
        return UserError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.")
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if kind_of(file) is None:
        hint = "" if file.startswith("hub:") else f"There is no file or folder {file}, and "
        return UserError(f"{hint}the Hub dataset {file.removeprefix('hub:')} cannot be read: {reason[:400]}.")
    return UserError(f"{file} cannot be read: {reason[:400]}.")


def short(value: Any) -> str:
    """A value for a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
