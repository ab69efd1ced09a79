"""Read labelled tables, and guess which files and columns hold texts and labels."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError, listed
from asterisk.data.arguments import FileFormat
from asterisk.data.delimited import UNNAMED
from asterisk.data.label_values import labels_of_values, truth_of
from asterisk.data.labels import LabelledTexts
from asterisk.data.readers import (
    DELIMITED,
    at_line,
    cell,
    files_of,
    kind_of,
    place,
    read_rows,
    read_texts,
    table_kind,
    text_cell,
)
from asterisk.data.text_files import say

# Column names tried for texts and labels if none is given, the most likely first.
TEXT_NAMES = (
    *("text", "sentence", "content", "message", "review", "utterance", "query", "question", "tweet", "comment"),
    *("document", "body", "description", "title"),
)
LABEL_NAMES = (
    *("label", "labels", "category", "categories", "class", "target", "intent", "sentiment", "emotion", "topic"),
    *("tag", "tags", "score", "rating"),
)
# Columns that number the rows.
INDEX_NAME = re.compile(r"__index_level_\d+__|(.*_)?(id|idx|index)", re.IGNORECASE)
# Words in file names that identify a split.
SPLIT_WORDS = {
    "train": {"train", "training"},
    "validation": {"dev", "development", "valid", "validation"},
    "test": {"test"},
}

# Rows read to guess columns.
GUESS_ROWS = 100


def read_labelled_texts(
    source: str,
    text_column: str = "",
    label_column: str = "",
    separator: str = "",
    split: str = "train",
    *,
    label_names: Sequence[str] = (),
    file_format: FileFormat | None = None,
    like: LabelledTexts | None = None,
) -> LabelledTexts:
    """Read labelled texts from a CSV, TSV, JSONL, JSON or Parquet file, a folder of them, or a Hub dataset.

    Args:
        source: As for [`asterisk.data.readers.files_of`].
        text_column: Column of strings; guessed from names and contents if empty.
        label_column: Column of classes (words or whole numbers), lists of classes, vectors of zeros and ones, or other
            numbers (regression); or A,B,C for one column of zeros and ones per label; guessed if empty.
        separator: Separator of the classes in a string that holds several.
        split: "train", "validation" or "test", for a Hub dataset if `source` names no split, and for a folder whose
            file names contain splits.
        label_names: Names of the labels in vectors of zeros and ones, in order.
        file_format: Overrides for the detected file format.
        like: Texts read earlier, whose columns and problem type apply.

    Raises:
        UserError: The source is missing, cannot be read, has no rows or no such columns; columns cannot be guessed; or
            a row has no text or no label of the right type.
    """
    text_column = text_column or (like.text_column if like else "")
    label_column = label_column or (like.label_column if like else "")
    texts: list[str] = []
    values: list[Any] = []
    places: list[tuple[str, int, int | None]] = []
    columns: list[str] = []
    is_written = False
    nulls = 0
    for file in split_files(source, split):
        kind = table_kind(file)
        is_written = is_written or kind in DELIMITED
        if not text_column or not label_column:
            text_column, label_column = guess_columns(file, split, text_column, label_column, file_format)
        wanted = [text_column, *label_column.split(",")]
        for number, (line, row) in enumerate(read_rows(file, kind, split, wanted, file_format)):
            if not columns:
                columns = _label_columns(row, label_column)
            text = text_cell(row, text_column, file, number, line)
            cells = [cell(row, column, file, number, line) for column in columns]
            nulls += text is None
            texts.append(text or "")
            values.append(cells if len(cells) > 1 else cells[0])
            places.append((file, number, line))
    if not texts:
        raise UserError(f"{source} has no rows; give labelled texts below the header.")
    if nulls:
        say(f"{source} has {nulls:,} null in column {text_column!r}, read as empty text.")

    def refuse(row: int, problem: str) -> UserError:
        file, number, line = places[row]
        return UserError(f"{place(file, number, label_column)} {problem}{at_line(line)}.")

    several = len(columns) > 1
    problem_type, labels, has_vectors = labels_of_values(
        values,
        refuse,
        separator,
        label_names or (columns if several else ()),
        is_written=is_written,
        problem_type=like.problem_type if like else "",
        has_vectors=several or (like.has_vectors if like else None),
    )
    return LabelledTexts(source, text_column, label_column, problem_type, texts, labels, has_vectors)


def read_unlabelled_texts(
    source: str, text_column: str = "", file_format: FileFormat | None = None
) -> tuple[list[str], str]:
    """Read texts from tables or text files; return them and the text column, which is "" for text files.

    Args:
        source: As for [`read_labelled_texts`].
        text_column: Column of strings; guessed from names and contents if empty.
        file_format: Overrides for the detected file format.

    Raises:
        UserError: The source is missing, cannot be read, has no rows or no such column.
    """
    texts: list[str] = []
    for file in split_files(source, "train"):
        if kind_of(file) != ".txt" and not text_column:
            text_column, _ = guess_columns(file, "train", "", None, file_format)
        texts += read_texts(file, text_column, file_format)
    if not texts:
        raise UserError(f"{source} has no texts; give some to train on.")
    return texts, text_column


def split_files(source: str, split: str) -> list[str]:
    """List the files of a source; if names in a folder tell splits apart, only those of `split`.

    Files such as test.csv do so, and folders such as test.
    """
    files = files_of(source, split)
    if not Path(source).is_dir() or (Path(source) / "dataset_dict.json").is_file():
        return files
    words = {file: _split_words(Path(file).relative_to(source)) for file in files}
    if not any(words.values()):
        return files
    found = [file for file in files if words[file] & SPLIT_WORDS[split]]
    if not found:
        raise UserError(f"{source} holds files of other splits, but none with '{split}' in its name; give a file.")
    if len(found) < len(files):
        names = listed(str(Path(file).relative_to(source)) for file in found)
        say(f"{source} holds files of several splits; only those of {split} are read: {names}.")
    return found


def _split_words(path: Path) -> set[str]:
    """Return the names of splits in a file's name or, if it has none, in that of the nearest folder which has some."""
    found = (set(re.split(r"[\W_]+", part.lower())) & set().union(*SPLIT_WORDS.values()) for part in path.parts[::-1])
    return next(filter(None, found), set())


def guess_columns(
    file: str, split: str, text: str, label: str | None, file_format: FileFormat | None = None
) -> tuple[str, str]:
    """Guess the columns of texts and labels; if `label` is None, guess no label column and return "" for it.

    A column with a known name wins; a column `text` wins whatever its first rows hold. Otherwise, the column with the
    longest strings holds the texts, and the only other column, or all columns of zeros and ones, hold the labels.
    Columns without a name are never guessed.

    Raises:
        UserError: The file has no rows or no header, or a column cannot be guessed.
    """
    kind = kind_of(file)
    wanted = [name for name in (text, label) if name]
    rows = [row for _, row in itertools.islice(read_rows(file, kind, split, wanted, file_format), GUESS_ROWS)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        raise UserError(f"{file} has no rows; give labelled texts below the header.")
    free = [column for column in columns if column not in (text, label) and not column.startswith(UNNAMED)]
    if not text:
        cells = {column: [row.get(column) for row in rows] for column in free}
        strings = {
            column: [value for value in cells[column] if isinstance(value, str) and truth_of(value) is None]
            for column in free
        }
        # A few rows may hold other values; the reader refuses them with their row numbers.
        mostly = [column for column in free if 2 * len(strings[column]) >= len(rows)]
        text = "text" if "text" in free else _known_name(TEXT_NAMES, mostly)
        text = text or max(mostly, key=lambda column: sum(map(len, strings[column])), default="")
    if label == "":
        label = _guess_labels(file, rows, [column for column in free if column != text])
        is_known = text.lower() in TEXT_NAMES or label.lower() in LABEL_NAMES
        if kind in DELIMITED and not is_known and (label.isdecimal() or label in {row.get(label) for row in rows}):
            raise UserError(
                f"{file} seems to lack a line of column names, since {label!r} in its first line is a label; add a "
                "line such as text,label."
            )
    if label == "" and columns == [text]:
        raise UserError(f"{file} has one column, {text!r}, and none of labels; add one, or give another --separator.")
    for name, found in (("text", text), ("label", label)):
        if found == "":
            raise UserError(
                f"The {name} column of {file} cannot be guessed; name one of {listed(columns)} with --{name}_column."
            )
    return text, label or ""


def _guess_labels(file: str, rows: list[dict[str, Any]], columns: list[str]) -> str:
    known = _known_name(LABEL_NAMES, columns)
    if len(columns) == 1:
        return columns[0]
    columns = [column for column in columns if not INDEX_NAME.fullmatch(column)]
    if len(columns) > 1 and all(truth_of(row.get(column)) is not None for row in rows for column in columns):
        if known:
            return known if known.strip().lower() in LABEL_NAMES[:2] else ""
        say(f"{file} has one column of zeros and ones per label: {', '.join(columns)}.")
        return ",".join(columns)
    return known or (columns[0] if len(columns) == 1 else "")


def _label_columns(row: dict[str, Any], label_column: str) -> list[str]:
    """Split --label_column at commas, unless a column has that name."""
    if label_column in row or "," not in label_column:
        return [label_column]
    return [name.strip() for name in label_column.split(",")]


def _known_name(names: Sequence[str], columns: Sequence[str]) -> str:
    by_name = {column.lower(): column for column in reversed(columns)} | {column: column for column in columns}
    by_name = {name.strip(): column for name, column in by_name.items()}
    return next((by_name[name] for name in names if name in by_name), "")
