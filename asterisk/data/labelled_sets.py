"""Classification sets in a folder of Parquet files, with MTEB's number of samples per label."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from asterisk.core.errors import UserError
from asterisk.data.labelled_tables import read_labelled_texts
from asterisk.data.labels import SINGLE

# Samples per label in MTEB's tasks; the default is that of AbsTaskClassification. JigsawBalanced stands for
# ToxicConversations.
SAMPLES_PER_LABEL = {
    "AmazonCounterfactual": 32,
    "Emotion": 16,
    "JigsawBalanced": 16,
    "TweetSentimentExtraction": 32,
}
MTEB_SAMPLES_PER_LABEL = 8
MTEB_SEED = 42

# Test share of a set without splits.
TEST_SHARE = 0.2

SPLITS = ("train", "dev", "test", "all")


@dataclass
class ClassificationSet:
    """Labelled texts for training and testing.

    `classes` lists the sorted classes of the whole set, so that a sample is no easier than the set. A set without
    training texts allows zero-shot classification only. `descriptions` maps classes to words that replace their names
    in zero-shot classification.
    """

    name: str
    classes: list[str]
    test_texts: list[str]
    test_labels: list[str]
    train_texts: list[str] = field(default_factory=list)
    train_labels: list[str] = field(default_factory=list)
    samples_per_label: int = MTEB_SAMPLES_PER_LABEL
    descriptions: dict[str, str] = field(default_factory=dict)


@dataclass
class LocalSet:
    """The files of a set by split (train, dev, test, or all for a set without splits), and its label column."""

    name: str
    files: dict[str, Path]
    label_column: str = "label"


def local_sets(folder: Path) -> dict[str, LocalSet]:
    """Find the labelled sets of a folder: files NAME.SPLIT.parquet with a column `text` and label columns.

    If there is no column `label`, every other column forms a set named NAME-COLUMN.

    Returns:
        The sets by name.

    Raises:
        UserError: The folder has no such file, or one cannot be read or has no column of labels.
    """
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.glob("*.parquet")):
        name, _, split = path.stem.rpartition(".")
        if name and split in SPLITS:
            files[name][split] = path
    if not files:
        raise UserError(f"{folder} holds no labelled sets: give a folder with files such as Banking77.test.parquet.")
    sets = {}
    for name, splits in files.items():
        for column in _label_columns(splits):
            title = name if column == "label" else f"{name}-{column}"
            sets[title] = LocalSet(title, splits, column)
    return sets


def _label_columns(files: dict[str, Path]) -> list[str]:
    path = next(iter(files.values()))
    try:
        columns = pq.read_schema(path).names
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these two
        raise UserError(f"{path} cannot be read: {error}.") from None
    labels = ["label"] if "label" in columns else [column for column in columns if column != "text"]
    if not labels:
        raise UserError(f"{path} has no column of labels, only {', '.join(columns)}; give a column 'label'.")
    return labels


def read_set(local: LocalSet, max_test_texts: int | None = None, seed: int = MTEB_SEED) -> ClassificationSet:
    """Read a set: training texts from `train`, test texts from `test`; `dev` adds only its classes.

    A set without splits is shuffled with the seed, and a fifth of it becomes the test split.

    Args:
        local: An item of [`local_sets`].
        max_test_texts: Maximum number of test texts, drawn with the seed; `classes` stays complete.
        seed: Seed of both draws.

    Raises:
        UserError: A file cannot be read or lacks a text or label, or the set has neither `test` nor `all`.
    """
    splits = {split: _read(str(path), local.label_column) for split, path in local.files.items()}
    classes = sorted({label for _, labels in splits.values() for label in labels})
    if "test" not in splits:
        if "all" not in splits:
            raise UserError(f"{local.name} has no test split; give {local.name}.test.parquet.")
        splits["train"], splits["test"] = _split(*splits["all"], seed)
    texts, labels = splits["test"]
    if max_test_texts is not None and max_test_texts < len(texts):
        rows = np.sort(np.random.default_rng(seed).choice(len(texts), max_test_texts, replace=False))
        texts, labels = _at(texts, rows), _at(labels, rows)
    samples = SAMPLES_PER_LABEL.get(local.name, MTEB_SAMPLES_PER_LABEL)
    return ClassificationSet(local.name, classes, texts, labels, *splits.get("train", ([], [])), samples)


def _read(file: str, label_column: str) -> tuple[list[str], list[str]]:
    found = read_labelled_texts(file, "text", label_column)
    if found.problem_type != SINGLE:
        raise UserError(f"{file} must have one label per text in column {label_column!r}: a word or a whole number.")
    return found.texts, found.labels


def _split(texts: list[str], labels: list[str], seed: int) -> list[tuple[list[str], list[str]]]:
    """Split a set into training and test parts."""
    order = np.random.default_rng(seed).permutation(len(texts))
    test = max(1, round(TEST_SHARE * len(texts)))
    return [(_at(texts, rows), _at(labels, rows)) for rows in (order[test:], order[:test])]


def _at(values: list[str], rows: np.ndarray) -> list[str]:
    return [values[row] for row in rows]
