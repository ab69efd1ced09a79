"""Read texts and tables from files (compressed or not), folders, glob patterns, URLs and Hub datasets."""

import glob
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError, listed, one_line, short
from asterisk.core.files import MANIFEST, read_json
from asterisk.data.arguments import FileFormat
from asterisk.data.arrow_files import (
    arrow_rows,
    class_names_of,
    file_class_names,
    parquet_rows,
    with_class_names,
)
from asterisk.data.delimited import delimited_rows
from asterisk.data.json_files import json_rows
from asterisk.data.text_files import COMPRESSIONS, bounded_lines, open_text, say

DELIMITED = (".csv", ".tsv")
TABLES = (".parquet", *DELIMITED, ".jsonl", ".json")
SUFFIXES = (".txt", *TABLES)

# Arrow files are read only from a folder that `save_to_disk` of `datasets` wrote.
ARROW = ".arrow"

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[^:/]*){0,2}")

# A row and its line number, which is None unless the file has one row per line.
NumberedRow = tuple[int | None, dict[str, Any]]


def read_texts(file: str, text_column: str, file_format: FileFormat | None = None) -> Iterator[str]:
    """Yield the texts of one file or Hub dataset, in order; a null becomes an empty text.

    Raises:
        UserError: The file cannot be read or lacks the column, or a row's text is not a string.
    """
    kind = kind_of(file)
    if kind == ".txt":
        yield from read_lines(file, file_format)
        return
    nulls = 0
    for number, (line, row) in enumerate(read_rows(file, kind, "train", [text_column], file_format)):
        text = text_cell(row, text_column, file, number, line)
        nulls += text is None
        yield text or ""
    if nulls:
        say(f"{file} has {nulls:,} null in column {text_column!r}, read as empty text.")


def read_columns(
    source: str,
    columns: list[str],
    split: str = "train",
    numbers: Sequence[str] = (),
    file_format: FileFormat | None = None,
) -> dict[str, list[Any]]:
    """Read columns of a table: a file, folder, glob pattern or Hub dataset.

    Args:
        source: As for [`files_of`].
        columns: Names of the columns.
        split: Split of a Hub dataset or saved dataset, if `source` names none.
        numbers: Columns of CSV files whose numeric cells become floats; all other cells stay text.
        file_format: Overrides for the detected file format.

    Returns:
        The values of each column, in the order of the rows.

    Raises:
        UserError: The source is missing, cannot be read or lacks a column.
    """
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for file in files_of(source, split):
        kind = table_kind(file)
        for number, (line, row) in enumerate(read_rows(file, kind, split, columns, file_format)):
            for column in columns:
                value = cell(row, column, file, number, line)
                values[column].append(_number(value) if kind in DELIMITED and column in numbers else value)
    return values


def check_texts(source: str, column: str, values: Sequence[Any]) -> None:
    """Raise a [`UserError`] that names the first value of a column that is empty or not text."""
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{place(source, row, column)} holds {short(value)} instead of text.")


def check_numbers(source: str, column: str, values: Sequence[Any]) -> None:
    """Raise a [`UserError`] that names the first value of a column that is not a finite number."""
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{place(source, row, column)} holds {short(value)} instead of a number.")


def files_of(source: str, split: str = "train") -> list[str]:
    """Expand a file, folder or glob pattern to a list of files; a URL or Hub dataset is returned unchanged.

    Args:
        source: Path, glob pattern, URL or Hub dataset.
        split: The split to read from a folder in which `datasets` saved several.

    Raises:
        UserError: There is no such file, or none of a supported kind.
    """
    path = Path(source)
    if source.startswith("hub:") or "://" in source or path.is_file():
        name = source.removeprefix("hub:")
        if name != source and not _HUB_NAME.fullmatch(name):
            raise UserError(
                f"{source} is not a Hub dataset: give hub:owner/name, hub:owner/name:config or …:config:split."
            )
        if name == source and not kind_of(source):
            raise _unsupported(source)
        return [source]
    if path.is_dir():
        return _saved_dataset(path, split) or _files_in(source)
    if glob.has_magic(source):
        found = sorted(file for file in glob.glob(source, recursive=True) if Path(file).is_file() and kind_of(file))
        if not found:
            raise UserError(f"No {', '.join(SUFFIXES)} file matches {source!r}.")
        return found
    if kind_of(source):
        raise UserError(f"There is no file {source}; give a text file, a folder, a glob pattern or a Hub dataset.")
    if path.exists():
        raise _unsupported(source)
    if source.startswith((".", "/")) or not _HUB_NAME.fullmatch(source):
        raise UserError(f"There is no file or folder {source}; give a text file, a table, a folder or a Hub dataset.")
    return [source]


def _unsupported(source: str) -> UserError:
    return UserError(
        f"{source} cannot be read: give a folder, or a file that ends in {', '.join(SUFFIXES)}; unpack archives, and "
        "save spreadsheets as CSV."
    )


def _files_in(folder: str) -> list[str]:
    # A corpus that Asterisk built has a manifest beside its shards.
    files = [str(file) for file in sorted(Path(folder).rglob("*")) if file.is_file() and file.name != MANIFEST]
    files = [file for file in files if "/." not in file.removeprefix(folder)]
    found = [file for file in files if kind_of(file) not in (None, ARROW)]
    if not found:
        raise UserError(f"{folder} holds no text: give a folder with {', '.join(SUFFIXES)} files.")
    if others := [Path(file).name for file in files if file not in found]:
        say(f"{folder} also holds files that are not read: {listed(others)}.")
    return found


def _saved_dataset(folder: Path, split: str) -> list[str]:
    """List the Arrow files of a folder that `save_to_disk` of `datasets` wrote; none for any other folder."""
    if (folder / "dataset_dict.json").is_file():
        splits = read_json(folder / "dataset_dict.json").get("splits", [])
        if split not in splits:
            raise UserError(f"{folder} has no split {split!r}; give the folder of a split: {', '.join(splits)}.")
        say(f"{folder} is a dataset with the splits {', '.join(splits)}; {split} is read.")
        folder = folder / split
    if not ((folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()):
        return []
    try:
        files = read_json(folder / "state.json")["_data_files"]
        return [str(folder / Path(file["filename"]).name) for file in files]
    except (KeyError, TypeError):
        raise UserError(f"{folder / 'state.json'} names no data files; save the dataset again.") from None


def kind_of(file: str) -> str | None:
    """Return the suffix that determines how to read a file; None if it is not supported."""
    if file.startswith("hub:"):
        return None
    path = Path(file.partition("?")[0] if "://" in file else file)
    suffix = path.suffix.lower()
    is_compressed = suffix in COMPRESSIONS
    if is_compressed:
        suffix = Path(path.stem).suffix.lower()
    suffix = {".ndjson": ".jsonl", ".tab": ".tsv"}.get(suffix, suffix)
    return suffix if suffix in (*SUFFIXES, ARROW) and not (is_compressed and suffix in (".parquet", ARROW)) else None


def table_kind(file: str) -> str | None:
    """Return the kind of a table, None for a Hub dataset; raise a [`UserError`] for a text file."""
    if (kind := kind_of(file)) == ".txt":
        raise UserError(f"{file} has no columns; give a table, whose name ends in {', '.join(TABLES)}.")
    return kind


def read_lines(file: str, file_format: FileFormat | None = None) -> Iterator[str]:
    """Yield the lines of a text file or URL, compressed or not.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with open_text(file, file_format.encoding if file_format else "") as (text, _):
            for line in bounded_lines(text):
                yield line.rstrip("\n")
    except UserError:
        raise
    except Exception as error:  # compression libraries raise many kinds
        raise _read_error(file, error) from None


def read_rows(
    file: str,
    kind: str | None,
    split: str = "train",
    columns: Sequence[str] = (),
    file_format: FileFormat | None = None,
    *,
    names_classes: bool = True,
) -> Iterator[NumberedRow]:
    """Yield the rows of a table; all cells of CSV files are text.

    Args:
        file: File, URL or Hub dataset.
        kind: The result of [`kind_of`].
        split: Split of a Hub dataset, if `file` names none.
        columns: The wanted columns, if known. If there is one, a Parquet reader reads no other.
        file_format: Overrides for the detected file format.
        names_classes: Whether the class numbers in ClassLabel columns of `datasets` become names.

    Raises:
        UserError: The file cannot be read, or its content does not match its suffix.
    """
    file_format = file_format or FileFormat()
    try:
        if kind in (".json", ".jsonl"):
            yield from json_rows(file, kind, file_format.encoding)
        elif kind in DELIMITED:
            yield from delimited_rows(file, kind, columns, file_format)
        else:
            if kind == ".parquet":
                rows = parquet_rows(file, columns[0] if len(columns) == 1 else None)
                names = file_class_names(file, kind) if names_classes else {}
            elif kind == ARROW:
                rows, names = arrow_rows(file), file_class_names(file, ARROW) if names_classes else {}
            else:
                rows, names = _hub_rows(file, split, names_classes)
            for row in rows:
                yield None, with_class_names(row, names)
    except UserError:
        raise
    except Exception as error:  # formats and protocols raise many kinds
        raise _read_error(file, error) from None


def _hub_rows(name: str, split: str, names_classes: bool) -> tuple[Iterator[dict[str, Any]], dict[str, list[str]]]:
    from datasets import load_dataset  # takes seconds to import

    name, config, named_split, *_ = [*name.removeprefix("hub:").split(":"), "", ""]
    dataset = load_dataset(name, config or None, split=named_split or split, streaming=True)
    features = dataset.features.to_dict() if names_classes and dataset.features else {}
    return iter(dataset), class_names_of(features)


def cell(row: dict[str, Any], column: str, file: str, number: int, line: int | None) -> Any:
    """Return the value of a column; raise a [`UserError`] if the row lacks it."""
    if column in row:
        return row[column]
    if number:
        raise UserError(f"{file}: row {number} has no {column!r}, only {listed(row)}{at_line(line)}.")
    raise UserError(f"{file} has no column {column!r}; its columns are {listed(row)}.")


def text_cell(row: dict[str, Any], column: str, file: str, number: int, line: int | None) -> str | None:
    """Return the text of a column, None for a null; raise a [`UserError`] for any other value or a missing column."""
    text = cell(row, column, file, number, line)
    if text is None or isinstance(text, str):
        return text
    raise UserError(f"{place(file, number, column)} holds {short(text)} instead of text{at_line(line)}.")


def place(file: str, number: int, column: str) -> str:
    """Describe the position of a value, for a message; rows are counted from 0."""
    return f"{file}: row {number} of column {column!r}"


def at_line(line: int | None) -> str:
    """Format a line number, if known, for the end of a message."""
    return f" (line {line:,})" if line else ""


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _read_error(file: str, error: Exception) -> UserError:
    if isinstance(error, (UnicodeDecodeError, UnicodeEncodeError)):
        problem = f"{file} is not {error.encoding.upper()} text ({error.reason})"
        return UserError(f"{problem}; name its encoding with --encoding, such as cp1252.")
    reason = one_line(error).rstrip(".") or type(error).__name__
    if kind_of(file) is None:
        hint = "" if file.startswith("hub:") else f"There is no file or folder {file}, and "
        return UserError(f"{hint}the Hub dataset {file.removeprefix('hub:')} cannot be read: {reason}.")
    return UserError(f"{file} cannot be read: {reason}.")
