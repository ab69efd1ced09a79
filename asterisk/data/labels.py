"""Labelled texts: each has one class, several classes or a number.

The problem types are those of transformers: `single_label_classification`, `multi_label_classification`, `regression`.
"""

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asterisk.core.errors import UserError, listed, short

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
REGRESSION = "regression"


@dataclass
class LabelledTexts:
    """Texts and their labels: a class (str), several classes (list of str) or a number (float), by `problem_type`.

    `has_vectors` is true if the labels were vectors of zeros and ones, or one column per label.
    """

    source: str
    text_column: str
    label_column: str
    problem_type: str
    texts: list[str]
    labels: list[Any]
    has_vectors: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: Sequence[int] | np.ndarray) -> "LabelledTexts":
        """Select rows."""
        texts, labels = [self.texts[row] for row in rows], [self.labels[row] for row in rows]
        return dataclasses.replace(self, texts=texts, labels=labels)

    def content_hash(self) -> str:
        """Compute the SHA-256 of texts and labels, as hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.texts, self.labels]).encode()).hexdigest()


def class_names(data: LabelledTexts) -> list[str]:
    """Return the sorted classes, in numeric order if all are numbers; for a regression, the label column's name."""
    if data.problem_type == REGRESSION:
        return [data.label_column]
    names = {name for classes in classes_of(data) for name in classes}
    is_numbered = all(re.fullmatch(r"-?\d{1,100}", name) for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if is_numbered else None)  # type: ignore[arg-type]


def classes_of(data: LabelledTexts) -> list[list[str]]:
    """Return a list of classes for each text, even if there is only one; empty lists for a regression."""
    if data.problem_type == MULTI:
        return data.labels
    return [[label] if data.problem_type == SINGLE else [] for label in data.labels]


def label_array(data: LabelledTexts, names: Sequence[str]) -> np.ndarray:
    """Convert labels to the targets of a loss.

    Returns:
        Class numbers (texts,), int64; for several classes per text, zeros and ones (texts, classes), float32; for a
        regression, numbers (texts, 1), float32.

    Raises:
        UserError: A class is not among `names`.
    """
    if data.problem_type == REGRESSION:
        return np.array(data.labels, np.float32)[:, None]
    number = {name: index for index, name in enumerate(names)}
    classes = classes_of(data)
    unknown = [(row, name) for row, labels in enumerate(classes) for name in labels if name not in number]
    if unknown:
        row, name = unknown[0]
        others = listed(dict.fromkeys(repr(other) for _, other in unknown))
        raise UserError(
            f"{data.source}: the text {short(data.texts[row])} has the label {name!r} in column "
            f"{data.label_column!r}, which is not among the {len(names)} of training ({listed(names)}); correct the "
            f"unknown labels, or add such texts to training: {others}."
        )
    if data.problem_type == SINGLE:
        return np.array([number[labels[0]] for labels in classes], np.int64)
    array = np.zeros((len(data), len(names)), np.float32)
    for row, labels in enumerate(classes):
        array[row, [number[name] for name in labels]] = 1
    return array


def check_training(data: LabelledTexts) -> list[str]:
    """Refuse labels that cannot be learned; return warnings about labels that are hard to learn.

    Raises:
        UserError: All texts have the same label.
    """
    distinct: set[Any] = {tuple(label) if isinstance(label, list) else label for label in data.labels}
    if len(distinct) < 2:
        kind = "number" if data.problem_type == REGRESSION else "label"
        raise UserError(
            f"All {len(data):,} texts of {data.source} have one {kind} in column {data.label_column!r}, "
            f"{data.labels[0]!r}; give texts with at least two {kind}s."
        )
    if data.problem_type == REGRESSION:
        if len(distinct) <= 20 and all(float(number).is_integer() for number in distinct):
            return [
                f"the labels of {data.source} are numbers with a decimal point, so the head predicts numbers; write "
                "them as whole numbers if they are classes"
            ]
        return []
    counts = Counter(name for labels in classes_of(data) for name in labels)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
        spellings[" ".join(unicodedata.normalize("NFKC", visible).casefold().split())].append(name)
    warnings = [
        f"{data.source} has labels that differ only in spelling and are learned as different labels: "
        f"{listed(map(repr, names))}"
        for names in spellings.values()
        if len(names) > 1
    ][:1]
    labels_of: dict[str, set[str]] = defaultdict(set)
    for text, names in zip(data.texts, classes_of(data), strict=True):
        labels_of[text.strip()].add(" and ".join(sorted(names)))
    if contrary := [text for text, labels in labels_of.items() if len(labels) > 1]:
        warnings.append(
            f"{data.source} gives equal texts different labels, such as {short(contrary[0])} "
            f"({listed(sorted(labels_of[contrary[0]]))}); {len(contrary):,} in all"
        )
    single = sum(count == 1 for count in counts.values())
    if 2 * len(counts) > len(data):
        warnings.append(
            f"{data.source} has {len(counts):,} labels for {len(data):,} texts ({single:,} of them with one text), "
            f"too few texts to learn much from; check that {data.label_column!r} is the column of labels"
        )
    elif single:
        warnings.append(f"{single:,} of the {len(counts):,} labels have only one text, too few to learn from")
    return warnings


def without_empty(data: LabelledTexts) -> LabelledTexts:
    """Drop texts that are empty or white space; raise a [`UserError`] if none is left."""
    rows = [row for row, text in enumerate(data.texts) if text.strip()]
    if not rows:
        raise UserError(f"All texts of {data.source} in column {data.text_column!r} are empty; give another column.")
    return data if len(rows) == len(data) else data.at(rows)


def split_off_label(data: LabelledTexts, label: str) -> tuple[LabelledTexts, list[str]]:
    """Return the data without a label, and the texts that have this label; an empty `label` removes nothing."""
    if not label:
        return data, []
    rows = [row for row, name in enumerate(data.labels) if name != label]
    return data.at(rows), [text for text, name in zip(data.texts, data.labels, strict=True) if name == label]
