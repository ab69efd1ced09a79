"""What a head is trained on: tables read, checked, and parted into training, development and test."""

import sys
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from asterisk.core.errors import UserError, redact
from asterisk.data.arguments import DataArguments
from asterisk.data.labels import (
    MULTI,
    REGRESSION,
    SINGLE,
    LabelledTexts,
    check_training,
    class_names,
    classes_of,
    label_array,
    read_labelled_texts,
    read_unlabelled_texts,
    without_empty,
    without_label,
)


@dataclass
class HeadData:
    """What a head is trained on, stopped by and tested on. `names` are the classes in the order of training's.

    `development_none` and `test_none` are texts that have none of these classes.
    """

    train: LabelledTexts
    development: LabelledTexts | None
    test: LabelledTexts | None
    names: list[str]
    development_none: list[str] = field(default_factory=list)
    test_none: list[str] = field(default_factory=list)

    @property
    def problem_type(self) -> str:
        """Of all three parts."""
        return self.train.problem_type


def read_head_data(arguments: DataArguments, none_label: str, samples_per_label: int | None, seed: int) -> HeadData:
    """The labelled texts, checked, in which each label of development and test is one of training.

    Args:
        arguments: Where they are.
        none_label: That of texts that have none of the others, or empty.
        samples_per_label: If training is on a draw, development is on one too.
        seed: Of the development split and that draw.

    Raises:
        UserError: A table cannot be read, or nothing can be learned from it.
    """
    train = _read_part(arguments, arguments.train_file, "train")
    if not (arguments.text_column and arguments.label_column):
        print(f"Texts are in column {train.text_column!r}, labels in {train.label_column!r}.")
    if none_label and train.problem_type != SINGLE:
        raise UserError(f"--none_label needs texts with one label each, but those of {train.source} are no such.")
    for sentence in check_training(without_label(train, none_label)[0]):
        warn(sentence)
    names = class_names(without_label(train, none_label)[0])
    kind = "numbers to predict" if train.problem_type == REGRESSION else f"{len(names):,} labels"
    print(f"{redact(arguments.train_file)}: {len(train):,} texts, {kind}.")
    development, test = _read_others(arguments, train)
    if development is None:
        train, development = split_development(train, seed)
    train, unused = without_label(train, none_label)
    if unused:
        print(f"{len(unused):,} texts of the label {none_label!r} are not learned from.")
    return _parted(train, development, test, names, none_label, samples_per_label, seed)


def read_unlabelled(arguments: DataArguments) -> LabelledTexts:
    """The training texts of which no label is known yet, each once.

    Raises:
        UserError: They cannot be read, or all are empty.
    """
    texts, column = read_unlabelled_texts(arguments.train_file, arguments.text_column)
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
    """The same as [`read_head_data`], of training texts that got their labels elsewhere, and labels `names`."""
    development, test = _read_others(arguments, train)
    if development is None:
        train, development = split_development(train, seed)
    return _parted(train, development, test, names, none_label, samples_per_label, seed)


def _read_others(arguments: DataArguments, train: LabelledTexts) -> tuple[LabelledTexts | None, LabelledTexts | None]:
    development, test = (
        _read_part(arguments, source, split, train) if source else None
        for source, split in ((arguments.dev_file, "validation"), (arguments.test_file, "test"))
    )
    for part in (development, test):
        if part and (shared := count_shared(part, train)):
            warn(f"{shared:,} of the {len(part):,} texts of {part.source} are in {train.source} too")
    return development, test


def _parted(
    train: LabelledTexts,
    development: LabelledTexts | None,
    test: LabelledTexts | None,
    names: list[str],
    none_label: str,
    samples_per_label: int | None,
    seed: int,
) -> HeadData:
    none: dict[str, list[str]] = {"development": [], "test": []}
    if development:
        development, none["development"] = without_label(development, none_label)
    if test:
        test, none["test"] = without_label(test, none_label)
    for part in (development, test):
        if part:
            label_array(part, names)  # says which label is not among them
    if none_label and not none["development"]:
        raise UserError(
            f"No development text has the label {none_label!r}; --none_label is to name a label of --dev_file, or of "
            "ten or more training texts."
        )
    if not development:
        warn("there are too few texts to set some aside; training goes on to its last pass, without early stopping")
    if samples_per_label and development:
        # No more labels to stop by than to learn from (Gao et al. 2021, arXiv:2012.15723).
        development = draw(development, samples_per_label, seed)
    return HeadData(train, development or None, test or None, names, none["development"], none["test"])


def _read_part(arguments: DataArguments, source: str, split: str, train: LabelledTexts | None = None) -> LabelledTexts:
    """One of the tables, without its empty texts."""
    found = read_labelled_texts(
        source,
        (train.text_column if train else "") or arguments.text_column,
        (train.label_column if train else "") or arguments.label_column,
        arguments.label_separator,
        split,
        train.problem_type if train else "",
    )
    kept = without_empty(found)
    if len(kept) < len(found):
        warn(f"{len(found) - len(kept):,} of the {len(found):,} texts of {source} are empty; they are left out")
    return kept


def warn(sentence: str) -> None:
    """A line on stderr."""
    print(f"warning: {sentence}.", file=sys.stderr)


# Of a training set without development set, every so manieth text becomes development.
DEVELOPMENT_STEP = 10


def count_shared(data: LabelledTexts, other: LabelledTexts) -> int:
    """How many texts of `data` occur in `other` too, but for white space around them."""
    known = {text.strip() for text in other.texts}
    return sum(text.strip() in known for text in data.texts)


def split_development(data: LabelledTexts, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
    """Training and development texts: a tenth, drawn with the seed, in which labels are as frequent as in all.

    Of labels with a single text, and of texts that occur more than once, none is among the development texts.

    Returns:
        The two parts, in the order of `data`; the second is empty if there are fewer than ten texts to choose from.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    strata = _strata(data)
    counts, copies = Counter(strata), Counter(text.strip() for text in data.texts)
    rows = [
        row
        for row in order
        if copies[data.texts[row].strip()] == 1 and (data.problem_type == REGRESSION or counts[strata[row]] > 1)
    ]
    # Sorted by label, at random within one, every tenth.
    rows.sort(key=lambda row: strata[row])  # type: ignore[arg-type, return-value]
    development = set(rows[DEVELOPMENT_STEP - 1 :: DEVELOPMENT_STEP])
    train = [row for row in range(len(data)) if row not in development]
    return data.at(train), data.at(sorted(development))


def _strata(data: LabelledTexts) -> list[Hashable]:
    """Of each text its label, the rarest if it has several; what texts are stratified by."""
    if data.problem_type != MULTI:
        return data.labels
    counts = Counter(name for own in data.labels for name in own)
    return [min(own, key=lambda name: (counts[name], name), default="") for own in data.labels]


def draw(data: LabelledTexts, samples_per_label: int, seed: int) -> LabelledTexts:
    """At most so many texts of each class, drawn with the seed, in the order of `data`.

    Raises:
        UserError: The labels are numbers.
    """
    if data.problem_type == REGRESSION:
        raise UserError(f"--samples_per_label draws texts of classes, but the labels of {data.source} are numbers.")
    taken: Counter[str] = Counter()
    rows = []
    classes = classes_of(data)
    for row in np.random.default_rng(seed).permutation(len(data)):
        own = classes[row]
        if own and min(taken[name] for name in own) < samples_per_label:
            taken.update(own)
            rows.append(int(row))
    return data.at(sorted(rows))
