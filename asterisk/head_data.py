"""What a head is trained on: tables read, checked, and parted into training, development and test."""

import sys
from dataclasses import dataclass, field

from asterisk.cli import UserError, without_secrets
from asterisk.labelled_data import (
    REGRESSION,
    SINGLE,
    LabelledTexts,
    check_training,
    class_names,
    count_shared,
    draw,
    label_array,
    read_labelled_texts,
    read_unlabelled_texts,
    split_development,
    without_empty,
    without_label,
)


@dataclass
class DataArguments:
    """Where labelled texts are."""

    train_file: str = field(default="", metadata={"help": "the table of labelled texts to train on"})
    dev_file: str = field(
        default="", metadata={"help": "one to say when to stop (default: a tenth of the training texts)"}
    )
    test_file: str = field(default="", metadata={"help": "one to measure the result on"})
    text_column: str = field(default="", metadata={"help": "the column of texts (default: guessed)"})
    label_column: str = field(default="", metadata={"help": "the column of labels (default: guessed)"})
    label_separator: str = field(
        default="", metadata={"help": "what stands between the labels of a text that has several"}
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
    print(f"{without_secrets(arguments.train_file)}: {len(train):,} texts, {kind}.")
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
