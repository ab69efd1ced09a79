"""Labelled texts for the contrastive loss between groups of labels: reading, tokenisation and batches.

A task is a YAML file:

    weight: 0.1                            # of this task's loss
    stretch: 1                             # lengthens the targets along the directions that separate the groups
    tables:
      - file: goemotions.parquet           # any table that the readers read
        text: text                         # column of the texts; this is the default
        labels: labels                     # column of the labels, one or a list per row
        groups: {good: [joy, love], bad: [anger]}    # default: each label is a group; labels in no group only repel
      - file: emobank.parquet
        number: valence                    # column of numbers
        groups: {good: [3.3, 5], bad: [1, 2.7]}      # ranges; default: the student learns the numbers' order (CoSENT)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge, gt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import PreTrainedTokenizerFast

from asterisk.core.arguments import parse_yaml
from asterisk.core.errors import UserError, one_line, short
from asterisk.data.label_values import labels_of_values
from asterisk.data.labels import MULTI, REGRESSION
from asterisk.data.readers import check_numbers, check_texts, place, read_columns
from asterisk.distillation.batching import pair_batch
from asterisk.models.passes import pad_token_ids

TABLE_KEYS = {"file", "text", "labels", "number", "groups"}


@dataclass
class LabelTask:
    """The groups and numbers that one task assigns to all labelled texts.

    Attributes:
        weight: The weight of the task's loss.
        stretch: The strength of [`asterisk.distillation.projection.stretch_between_groups`].
        known: (texts,), boolean: whether the text belongs to a table of this task with groups.
        groups: (texts, groups), boolean.
        numbers: (texts,), float32: the numbers to order texts by, NaN for texts without one.
    """

    weight: float
    stretch: float
    known: np.ndarray
    groups: np.ndarray
    numbers: np.ndarray


@dataclass
class LabelledCorpus:
    """Labelled texts and their tasks.

    Attributes:
        texts: The texts.
        tasks: The tasks.
        rows: (texts,), int64: the rows of the texts in the corpus; -1 before `place` is called.
        token_ids: The token ids of each text; empty before `tokenize` is called.
    """

    texts: list[str]
    tasks: list[LabelTask]
    rows: np.ndarray
    token_ids: list[list[int]]

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, rows: np.ndarray) -> "LabelledCorpus":
        """Return the texts that are in the corpus; `rows` has each text's row in it, or -1: (texts,), int64."""
        kept = rows >= 0
        tasks = [
            LabelTask(task.weight, task.stretch, task.known[kept], task.groups[kept], task.numbers[kept])
            for task in self.tasks
        ]
        texts = [text for text, keep in zip(self.texts, kept, strict=True) if keep]
        return LabelledCorpus(texts, tasks, rows[kept], [])

    def tokenize(self, tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
        """Compute the token ids of all texts, truncated to `max_length` tokens."""
        self.token_ids = tokenizer(self.texts, truncation=True, max_length=max_length)["input_ids"]

    def batch(self, size: int, seed: int, turn: int) -> np.ndarray:
        """Return the indices of one turn's texts; every text occurs once before any recurs."""
        return pair_batch(len(self), min(size, len(self)), seed, turn)

    def padded(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids and the attention mask of some texts: both (rows, longest), int64."""
        ids, mask = map(torch.from_numpy, pad_token_ids([self.token_ids[row] for row in rows]))
        return ids, mask


def read_label_tasks(files: Sequence[str]) -> LabelledCorpus:
    """Read the tables that the tasks name; equal texts are merged.

    Raises:
        UserError: A file or a table cannot be read, or names unknown keys, labels or ranges.
    """
    rows: dict[str, int] = {}
    tasks = [_read_task(Path(file), rows) for file in files]
    count = len(rows)
    read = []
    for (weight, stretch), group_names, memberships, numbers in tasks:
        known, groups = np.zeros(count, dtype=bool), np.zeros((count, len(group_names)), dtype=bool)
        index = {name: column for column, name in enumerate(group_names)}
        for row, names in memberships:
            known[row] = True
            groups[row, [index[name] for name in names]] = True
        values = np.full(count, np.nan, dtype=np.float32)
        values[[row for row, _ in numbers]] = [number for _, number in numbers]
        read.append(LabelTask(weight, stretch, known, groups, values))
    return LabelledCorpus(list(rows), read, np.full(count, -1), [])


def _read_task(file: Path, rows: dict[str, int]) -> tuple[list[float], list[str], list[tuple[int, list[str]]], list]:
    """Read one task; `rows` numbers the texts of all tasks."""
    if not file.is_file():
        raise UserError(f"There is no label task {file}.")
    try:
        task = parse_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML: {one_line(error)}") from None
    is_task = isinstance(task, dict) and not set(task) - {"weight", "stretch", "tables"}
    if not is_task or not isinstance(task.get("tables"), list) or not task["tables"]:
        raise UserError(f"{file} must hold tables, a list, and may hold weight and stretch.")
    strengths = []
    for name, default, check, limits in (("weight", 1.0, gt, "above 0"), ("stretch", 0.0, ge, "of at least 0")):
        value = task.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not check(value, 0):
            raise UserError(f"{file}: {name} must be a number {limits}, not {value!r}.")
        strengths.append(float(value))
    memberships: list[tuple[int, list[str]]] = []
    numbers: list[tuple[int, float]] = []
    for table in task["tables"]:
        is_table = isinstance(table, dict) and "file" in table and not set(table) - TABLE_KEYS
        if not is_table or ("labels" in table) == ("number" in table):
            raise UserError(
                f"{file}: every table must be a mapping with file, either labels or number, and optionally text and "
                f"groups, not {short(table)}."
            )
        source, text_column = str(table.get("file")), str(table.get("text", "text"))
        column = str(table.get("labels") or table.get("number"))
        columns = read_columns(source, [text_column, column], numbers=[column] if "number" in table else [])
        check_texts(source, text_column, columns[text_column])
        numbered = [rows.setdefault(" ".join(text.split()), len(rows)) for text in columns[text_column]]
        if "number" in table:
            check_numbers(source, column, columns[column])
            values = [float(value) for value in columns[column]]
            if "groups" in table:
                memberships += list(zip(numbered, _groups_of_numbers(file, values, table["groups"]), strict=True))
            else:
                numbers += list(zip(numbered, values, strict=True))
        else:
            labels = _read_labels(source, column, columns[column])
            memberships += list(
                zip(numbered, _groups_of_labels(file, source, labels, table.get("groups")), strict=True)
            )
    kinds = {tuple(found) for _, found in memberships}
    if len(kinds) < 2 and not numbers:
        found = ", ".join(*kinds) or "no group"
        raise UserError(f"{file}: a contrastive loss needs texts of different groups, but all texts are in {found}.")
    names = sorted({name for _, found in memberships for name in found})
    return strengths, names, memberships, numbers


def _groups_of_numbers(file: Path, values: Sequence[float], groups: Any) -> list[list[str]]:
    try:
        ranges = {name: (float(low), float(high)) for name, (low, high) in groups.items()}
    except (AttributeError, TypeError, ValueError):
        ranges = {}
    if not all(low <= high for low, high in ranges.values()) or not ranges:
        raise UserError(f"{file}: groups of numbers must be ranges, low to high, such as {{good: [3.3, 5]}}.")
    return [[name for name, (low, high) in ranges.items() if low <= value <= high] for value in values]


def _read_labels(source: str, column: str, values: list[Any]) -> list[list[str]]:
    """Return the labels of each row, read as those of a head are."""

    def refuse(row: int, problem: str) -> UserError:
        return UserError(f"{place(source, row, column)} {problem}.")

    problem_type, labels, _ = labels_of_values(values, refuse)
    if problem_type == REGRESSION:
        raise refuse(0, f"holds {short(values[0])}, a number; name the column with number instead of labels")
    return labels if problem_type == MULTI else [[label] for label in labels]


def _groups_of_labels(file: Path, source: str, labels: list[list[str]], groups: Any) -> list[list[str]]:
    if groups is None:
        return labels
    if not isinstance(groups, dict) or not all(isinstance(members, list) for members in groups.values()):
        raise UserError(f"{file}: groups must be lists of labels, such as {{good: [joy, love]}}.")
    grouped: dict[str, str] = {}
    for name, members in groups.items():
        for label in map(str, members):
            if grouped.setdefault(label, str(name)) != str(name):
                raise UserError(
                    f"{file}: the label {label!r} is in the groups {grouped[label]} and {name}; choose one."
                )
    present = {label for row in labels for label in row}
    if missing := sorted(set(grouped) - present):
        raise UserError(f"{file}: {source} has no label {missing[0]!r}; it has {', '.join(sorted(present)[:40])}.")
    return [sorted({grouped[label] for label in row if label in grouped}) for row in labels]
