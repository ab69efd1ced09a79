"""The training, development and test texts of a head."""

import sys
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from asterisk.core.errors import UserError, redact
from asterisk.data.arguments import DataArguments
from asterisk.data.labelled_tables import read_labelled_texts, read_unlabelled_texts
from asterisk.data.labels import (
    MULTI,
    REGRESSION,
    SINGLE,
    LabelledTexts,
    check_training,
    class_names,
    classes_of,
    label_array,
    split_off_label,
    without_empty,
)

# Without a development set, every tenth training text goes to the development split.
DEVELOPMENT_STEP = 10


@dataclass
class HeadData:
    """The texts for training, early stopping and testing of a head.

    `names` lists the classes in training order. `development_none` and `test_none` are texts with none of these
    classes.
    """

    train: LabelledTexts
    development: LabelledTexts | None
    test: LabelledTexts | None
    names: list[str]
    development_none: list[str] = field(default_factory=list)
    test_none: list[str] = field(default_factory=list)

    @property
    def problem_type(self) -> str:
        """The type of the labels in all splits."""
        return self.train.problem_type


def read_head_data(arguments: DataArguments, none_label: str, samples_per_label: int | None, seed: int) -> HeadData:
    """Read and check the labelled texts; refuse development or test labels that do not occur in training.

    Args:
        arguments: The files and columns.
        none_label: Label of texts to which no other label applies; empty if there is none.
        samples_per_label: If set, the development split keeps only this many texts per label, like the training split.
        seed: Seed for both the development split and its reduction.

    Raises:
        UserError: A table cannot be read, or nothing can be learned from it.
    """
    train = _read_part(arguments, arguments.train_file, "train")
    if not (arguments.text_column and arguments.label_column):
        print(f"Texts are in column {train.text_column!r}, labels in {train.label_column!r}.")
    if none_label and train.problem_type != SINGLE:
        raise UserError(f"--none_label needs texts with one label each, unlike those of {train.source}.")
    learned, _ = split_off_label(train, none_label)
    for sentence in check_training(learned):
        warn(sentence)
    names = class_names(learned)
    kind = "numbers to predict" if train.problem_type == REGRESSION else f"{len(names):,} labels"
    print(f"{redact(arguments.train_file)}: {len(train):,} texts, {kind}.")
    development, test = _read_other_parts(arguments, train)
    if development is None:
        train, development = split_development(train, seed)
    train, unused = split_off_label(train, none_label)
    if unused:
        print(f"{len(unused):,} texts with the label {none_label!r} are not trained on.")
    return _head_data(train, development, test, names, none_label, samples_per_label, seed)


def read_unlabelled(arguments: DataArguments) -> LabelledTexts:
    """Read the distinct training texts, without labels; raise a [`UserError`] if all are empty."""
    texts, column = read_unlabelled_texts(arguments.train_file, arguments.text_column, arguments)
    distinct = list(dict.fromkeys(texts))
    found = LabelledTexts(arguments.train_file, column, "", SINGLE, distinct, [""] * len(distinct))
    return without_empty(found)


def head_data_of(
    train: LabelledTexts,
    names: list[str],
    arguments: DataArguments,
    none_label: str,
    samples_per_label: int | None,
    seed: int,
) -> HeadData:
    """Return the data like [`read_head_data`], for training texts whose labels, `names`, come from elsewhere."""
    development, test = _read_other_parts(arguments, train)
    if development is None:
        train, development = split_development(train, seed)
    return _head_data(train, development, test, names, none_label, samples_per_label, seed)


def _read_other_parts(
    arguments: DataArguments, train: LabelledTexts
) -> tuple[LabelledTexts | None, LabelledTexts | None]:
    development, test = (
        _read_part(arguments, source, split, train) if source else None
        for source, split in ((arguments.dev_file, "validation"), (arguments.test_file, "test"))
    )
    for part in (development, test):
        if part and (shared := count_shared(part, train)):
            warn(f"{shared:,} of the {len(part):,} texts of {part.source} are in {train.source} too")
    return development, test


def _head_data(
    train: LabelledTexts,
    development: LabelledTexts | None,
    test: LabelledTexts | None,
    names: list[str],
    none_label: str,
    samples_per_label: int | None,
    seed: int,
) -> HeadData:
    development_none: list[str] = []
    test_none: list[str] = []
    if development:
        development, development_none = split_off_label(development, none_label)
    if test:
        test, test_none = split_off_label(test, none_label)
    for part in (development, test):
        if part:
            label_array(part, names)  # refuses unknown labels
    if none_label and not development_none:
        raise UserError(
            f"No development text has the label {none_label!r}; --none_label must name a label of --dev_file, or of "
            "ten or more training texts."
        )
    if not development:
        warn("there are too few texts for a development split; training runs all epochs, without early stopping")
    if samples_per_label and development:
        # Early stopping gets as few texts per label as training (Gao et al. 2021, arXiv:2012.15723).
        development = draw(development, samples_per_label, seed)
    return HeadData(train, development or None, test or None, names, development_none, test_none)


def _read_part(arguments: DataArguments, source: str, split: str, train: LabelledTexts | None = None) -> LabelledTexts:
    """Read one table without its empty texts, with the columns and problem type of training."""
    found = read_labelled_texts(
        source,
        (train.text_column if train else "") or arguments.text_column,
        (train.label_column if train else "") or arguments.label_column,
        arguments.label_separator,
        split,
        label_names=[name.strip() for name in arguments.label_names.split(",") if name.strip()],
        file_format=arguments,
        like=train,
    )
    kept = without_empty(found)
    if len(kept) < len(found):
        warn(f"{len(found) - len(kept):,} of the {len(found):,} texts of {source} are empty; they are left out")
    return kept


def warn(sentence: str) -> None:
    """Print a warning on stderr."""
    print(f"warning: {sentence}.", file=sys.stderr)


def count_shared(data: LabelledTexts, other: LabelledTexts) -> int:
    """Count the texts in `data` that occur in `other`, ignoring surrounding white space."""
    known = {text.strip() for text in other.texts}
    return sum(text.strip() in known for text in data.texts)


def split_development(data: LabelledTexts, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
    """Split off a tenth for development, stratified by label and drawn with the seed.

    Texts that occur more than once, and texts whose label occurs once, stay in training.

    Returns:
        The two parts, in the order of `data`; the second is empty if fewer than ten texts can be chosen.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    strata = _strata(data)
    counts, copies = Counter(strata), Counter(text.strip() for text in data.texts)
    rows = [
        row
        for row in order
        if copies[data.texts[row].strip()] == 1 and (data.problem_type == REGRESSION or counts[strata[row]] > 1)
    ]
    # Sort by label, keeping the random order within a label, and take every tenth.
    rows.sort(key=lambda row: strata[row])  # type: ignore[arg-type, return-value]
    development = set(rows[DEVELOPMENT_STEP - 1 :: DEVELOPMENT_STEP])
    train = [row for row in range(len(data)) if row not in development]
    return data.at(train), data.at(sorted(development))


def _strata(data: LabelledTexts) -> list[Hashable]:
    """Return the label of each text, or the rarest of several, for stratification."""
    if data.problem_type != MULTI:
        return data.labels
    counts = Counter(name for labels in data.labels for name in labels)
    return [min(labels, key=lambda name: (counts[name], name), default="") for labels in data.labels]


def draw(data: LabelledTexts, samples_per_label: int, seed: int) -> LabelledTexts:
    """Draw up to `samples_per_label` texts per class with the seed; raise a [`UserError`] for a regression.

    A text with several classes is drawn if any of them still needs texts. The texts stay in the order of `data`.
    """
    if data.problem_type == REGRESSION:
        raise UserError(f"--samples_per_label draws texts of classes, but the labels of {data.source} are numbers.")
    taken: Counter[str] = Counter()
    rows = []
    classes = classes_of(data)
    for row in np.random.default_rng(seed).permutation(len(data)):
        names = classes[row]
        if names and min(taken[name] for name in names) < samples_per_label:
            taken.update(names)
            rows.append(int(row))
    return data.at(sorted(rows))
