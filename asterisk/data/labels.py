"""Labelled tables: texts with a class, several classes or a number each; read, checked, split and drawn from.

What a table holds is told from its labels and named as transformers names it: `single_label_classification`,
`multi_label_classification` or `regression`.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.readers import TABLES, files_of, kind_of, read_rows, read_texts, short

SINGLE = "single_label_classification"


MULTI = "multi_label_classification"


REGRESSION = "regression"


# Columns that are taken for texts and labels if nobody says which are, the first first.
TEXT_NAMES = (
    *("text", "sentence", "content", "message", "review", "utterance", "query", "question", "tweet", "comment"),
    *("document", "body", "description", "title"),
)


LABEL_NAMES = (
    *("label", "labels", "category", "categories", "class", "target", "intent", "sentiment", "emotion", "topic"),
    *("tag", "tags", "score", "rating"),
)


# Words in the names of a folder's files that say of which split they are.
SPLIT_WORDS = {
    "train": {"train", "training"},
    "validation": {"dev", "development", "valid", "validation"},
    "test": {"test"},
}


# Rows that columns are guessed from.
GUESS_ROWS = 100


# In these formats nothing but its writing tells a number from a word.
WRITTEN = (".csv", ".tsv")


# What a head is trained to give is computed in single precision.
LARGEST_NUMBER = 1e38


@dataclass
class LabelledTexts:
    """Texts, and of each a class (a string), several (a list of strings) or a number (a float), by `problem_type`."""

    source: str
    text_column: str
    label_column: str
    problem_type: str
    texts: list[str]
    labels: list[Any]

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: Sequence[int] | np.ndarray) -> "LabelledTexts":
        """Those of some rows."""
        texts, labels = [self.texts[row] for row in rows], [self.labels[row] for row in rows]
        return dataclasses.replace(self, texts=texts, labels=labels)

    def content_hash(self) -> str:
        """SHA-256 of texts and labels, as hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.texts, self.labels]).encode()).hexdigest()


def read_labelled_texts(
    source: str,
    text_column: str = "",
    label_column: str = "",
    separator: str = "",
    split: str = "train",
    problem_type: str = "",
) -> LabelledTexts:
    """Reads a CSV, TSV, JSONL, JSON or Parquet file, a folder of them, or a Hub dataset's split.

    Args:
        source: As in [`asterisk.data.readers.files_of`].
        text_column: Holds strings; guessed from names and contents if empty.
        label_column: Holds words or whole numbers (classes), lists of them, or other numbers (regression); guessed if
            empty.
        separator: What stands between the classes of a text that has several, if they are written in one string.
        split: "train", "validation" or "test": of a Hub dataset if `source` names none, and of a folder if names of
            its files tell splits apart.
        problem_type: What the labels have to be; by default they tell it themselves.

    Raises:
        UserError: The source is missing, cannot be read, has no rows or no such columns, columns cannot be guessed, or
            a row has no text or no label of this kind.
    """
    texts: list[str] = []
    values: list[Any] = []
    written = False
    for file in _files(source, split):
        kind = kind_of(file)
        if kind == ".txt":
            raise UserError(f"{file} has no columns; give a table: {', '.join(TABLES)}.")
        if not text_column or not label_column:
            text_column, label_column = _guessed_columns(file, kind, split, text_column, label_column)
        written = written or kind in WRITTEN
        # The labels of a CSV file as they are written, since 007 is not 7.
        for row in read_rows(file, kind, split, label_column if kind in WRITTEN else None):
            for column in (text_column, label_column):
                if column not in row:
                    raise UserError(f"{file} has no column {column!r}; its columns are {', '.join(row)}.")
            text = row[text_column]
            if not isinstance(text, str):
                if kind not in WRITTEN:
                    raise UserError(
                        f"{file}: row {len(texts)} of column {text_column!r} holds {short(text)} instead of text."
                    )
                text = str(text)
            texts.append(text)
            values.append(row[label_column])
    if not texts:
        raise UserError(f"{source} has no rows; give labelled texts below the header.")
    problem_type = problem_type or _problem_type(values, separator, written)
    labels = [
        _label(value, problem_type, separator, f"{source}: row {row} of column {label_column!r}")
        for row, value in enumerate(values)
    ]
    return LabelledTexts(source, text_column, label_column, problem_type, texts, labels)


def read_unlabelled_texts(source: str, text_column: str = "") -> tuple[list[str], str]:
    """Texts, of a table or of files with a text a line, and the column they are in; "" if there is none.

    Args:
        source: As for [`read_labelled_texts`].
        text_column: Guessed from names and contents if empty.

    Raises:
        UserError: The source is missing, cannot be read, has no rows or no such column.
    """
    texts: list[str] = []
    for file in _files(source, "train"):
        kind = kind_of(file)
        if kind != ".txt" and not text_column:
            text_column, _ = _guessed_columns(file, kind, "train", "", None)
        texts += read_texts(file, text_column)
    if not texts:
        raise UserError(f"{source} has no texts; give some to train on.")
    return texts, text_column


def _files(source: str, split: str) -> list[str]:
    """What there is to read; of a folder with files of several splits, such as test.csv, the split's."""
    files = files_of(source)
    if not Path(source).is_dir():
        return files
    words = {file: set(re.split(r"[\W_]+", Path(file).name.lower())) for file in files}
    if not any(words[file] & names for file in files for names in SPLIT_WORDS.values()):
        return files
    own = [file for file in files if words[file] & SPLIT_WORDS[split]]
    if not own:
        raise UserError(f"{source} holds files of other splits, but none with '{split}' in its name; give a file.")
    return own


def _guessed_columns(file: str, kind: str | None, split: str, text: str, label: str | None) -> tuple[str, str]:
    """The two columns; None for a label asks for none, which is then "" too."""
    rows = list(itertools.islice(read_rows(file, kind, split), GUESS_ROWS))
    if not rows:
        raise UserError(f"{file} has no rows; give labelled texts below the header.")
    columns = list(rows[0])
    free = [column for column in columns if column not in (text, label)]
    if not text:
        lengths = {
            column: sum(len(row[column]) for row in rows)
            for column in free
            if all(isinstance(row.get(column), str) for row in rows)
        }
        text = _known(TEXT_NAMES, list(lengths)) or max(lengths, key=lambda column: lengths[column], default="")
    if label == "":
        others = [column for column in free if column != text]
        label = _known(LABEL_NAMES, others) or (others[0] if len(others) == 1 else "")
    for name, found in (("text", text), ("label", label)):
        if found == "":
            raise UserError(
                f"Which column of {file} holds the {name}s cannot be guessed; name one of {', '.join(columns)} with "
                f"--{name}_column."
            )
    return text, label or ""


def _known(names: Sequence[str], columns: Sequence[str]) -> str:
    by_name = {column.strip().lower(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), "")


def _problem_type(values: list[Any], separator: str, written: bool) -> str:
    if separator or any(isinstance(value, list) for value in values):
        return MULTI
    given = [value for value in values if value is not None and str(value).strip()]
    if written:
        whole = all(re.fullmatch(r"\s*[+-]?\d+\s*", str(value)) for value in given)
        return SINGLE if whole or any(_number(value) is None for value in given) else REGRESSION
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in given)
    return REGRESSION if numbers and any(not isinstance(value, Integral) for value in given) else SINGLE


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _label(value: Any, problem_type: str, separator: str, where: str) -> str | list[str] | float:
    if problem_type == REGRESSION:
        number = _number(value)
        if number is None or not abs(number) <= LARGEST_NUMBER:
            raise UserError(
                f"{where} holds {short(value)} instead of a number between {-LARGEST_NUMBER} and {LARGEST_NUMBER}."
            )
        return number
    if problem_type == SINGLE:
        return _class(value, where)
    parts = value.split(separator) if separator and isinstance(value, str) else value
    if not isinstance(parts, list):
        raise UserError(
            f"{where} holds {short(value)} instead of a list of labels; --label_separator tells what stands between "
            "labels."
        )
    kept = [part for part in parts if not (isinstance(part, str) and not part.strip())]
    return list(dict.fromkeys(_class(part, where) for part in kept))


def _class(value: Any, where: str) -> str:
    if not isinstance(value, (str, Integral)) or not str(value).strip():
        raise UserError(f"{where} holds {short(value)} instead of a label, a word or a whole number.")
    return str(value).strip()


def class_names(data: LabelledTexts) -> list[str]:
    """The classes that occur, sorted, as numbers if all are; of a regression, the column's name."""
    if data.problem_type == REGRESSION:
        return [data.label_column]
    names = {name for classes in classes_of(data) for name in classes}
    is_numbered = all(re.fullmatch(r"-?\d{1,100}", name) for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if is_numbered else None)  # type: ignore[arg-type]


def classes_of(data: LabelledTexts) -> list[list[str]]:
    """The classes of each text, as a list also if there can be only one; none of a regression."""
    if data.problem_type == MULTI:
        return data.labels
    return [[label] if data.problem_type == SINGLE else [] for label in data.labels]


def label_array(data: LabelledTexts, names: Sequence[str]) -> np.ndarray:
    """What a loss compares with: (texts,) int64 class numbers; (texts, classes) float32 zeros and ones, if a text may
    have several; or (texts, 1) float32 numbers.

    Raises:
        UserError: A class is not among `names`.
    """
    if data.problem_type == REGRESSION:
        return np.array(data.labels, np.float32)[:, None]
    number = {name: index for index, name in enumerate(names)}
    classes = classes_of(data)
    unknown = [(row, name) for row, own in enumerate(classes) for name in own if name not in number]
    if unknown:
        row, name = unknown[0]
        listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        raise UserError(
            f"{data.source}: row {row} has the label {name!r}, which is not among the {len(names)} of training "
            f"({listed}), as {len({name for _, name in unknown})} in all; correct it, or add texts of it to training."
        )
    if data.problem_type == SINGLE:
        return np.array([number[own[0]] for own in classes], np.int64)
    array = np.zeros((len(data), len(names)), np.float32)
    for row, own in enumerate(classes):
        array[row, [number[name] for name in own]] = 1
    return array


def check_training(data: LabelledTexts) -> list[str]:
    """Refuses what nothing can be learned from; gives sentences on what little can be learned from.

    Raises:
        UserError: All texts have one label.
    """
    distinct: set[Any] = {tuple(label) if isinstance(label, list) else label for label in data.labels}
    if len(distinct) < 2:
        what = "number" if data.problem_type == REGRESSION else "label"
        raise UserError(
            f"All {len(data):,} texts of {data.source} have one {what} in column {data.label_column!r}, "
            f"{data.labels[0]!r}; give texts of at least two."
        )
    if data.problem_type == REGRESSION:
        few = len(distinct) <= 20 and all(float(number).is_integer() for number in distinct)
        if few:
            return [
                f"the labels of {data.source} are numbers with a decimal point, so that numbers are predicted; write "
                "them as whole numbers if they are classes"
            ]
        return []
    counts = Counter(name for own in classes_of(data) for name in own)
    single = sum(count == 1 for count in counts.values())
    if 2 * len(counts) > len(data):
        return [
            f"{data.source} has {len(counts):,} labels for {len(data):,} texts ({single:,} of them for a single one), "
            f"too few to learn much from; is {data.label_column!r} the column of labels?"
        ]
    return [f"{single:,} of the {len(counts):,} labels have a single text, too little to learn from"] if single else []


def without_empty(data: LabelledTexts) -> LabelledTexts:
    """The texts that hold more than white space.

    Raises:
        UserError: None does.
    """
    rows = [row for row, text in enumerate(data.texts) if text.strip()]
    if not rows:
        raise UserError(f"All texts of {data.source} in column {data.text_column!r} are empty; give another column.")
    return data if len(rows) == len(data) else data.at(rows)


def without_label(data: LabelledTexts, label: str) -> tuple[LabelledTexts, list[str]]:
    """Those that have another label, and the texts of those that have this one; all and none if it is empty."""
    if not label:
        return data, []
    rows = [row for row, own in enumerate(data.labels) if own != label]
    return data.at(rows), [text for text, own in zip(data.texts, data.labels, strict=True) if own == label]
