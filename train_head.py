"""Trains a classifier on labelled texts: a head on an Asterisk.

    python train_head.py --model runs/demo/model --train_file train.csv --output_dir runs/mine
    python train_head.py --model M --train_file train.csv --test_file test.csv --mode full --output_dir O
    python train_head.py --model M --train_file train.csv --samples_per_label 8 --repeats 10 --output_dir O

A table is a CSV, TSV, JSONL, JSON or Parquet file, a folder of them, or a Hub dataset. Labels are words or whole
numbers, several of a text as a list or with --label_separator, or other numbers, which are then predicted. Without
--dev_file a tenth of the training texts is set aside to say when to stop. In --output_dir: model/ (for
AutoModelForSequenceClassification and pipeline("text-classification")), report.json and report.md, and run.json.
"""

import dataclasses
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asterisk.cli import UserError, entry_point, parse_arguments
from asterisk.distillation import RUN, check_folder
from asterisk.head_report import confusion_matrix, score_classes, spread, write_head_report
from asterisk.heads import (
    TRAINING,
    HeadArguments,
    HeadData,
    HeadTraining,
    Repeat,
    best_repeat,
    resolve_arguments,
)
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
    split_development,
    without_empty,
)
from asterisk.manifest import make_folder, write_json
from modeling_asterisk import AsteriskForSequenceClassification

MODEL = "model"

# Fields that may differ when a run is resumed.
NOT_THE_RUN = ("output_dir", "resume")


@dataclass
class TrainHeadArguments(HeadArguments):
    """What is trained on what."""

    model: str = field(default="", metadata={"help": "an Asterisk: a folder, Hub id or package:NAME"})
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
    output_dir: str = field(default="", metadata={"help": "where the model and the report go"})
    resume: bool = field(default=False, metadata={"help": "continue the training in OUTPUT_DIR, or begin it"})


@entry_point
def main() -> None:
    """Reads, trains, saves, measures."""
    arguments = parse_arguments(TrainHeadArguments, __doc__ or "")
    for name in ("model", "train_file", "output_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing; --help shows whole commands.")
    settings = resolve_arguments(arguments)
    folder = Path(arguments.output_dir)
    data = read_data(arguments)
    recipe = {name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_THE_RUN}
    parts = {"train": data.train, "development": data.development, "test": data.test}
    recipe["data"] = {name: part.content_hash() for name, part in parts.items() if part}
    check_folder(folder, recipe, arguments.resume)
    if (folder / "report.json").exists():
        print(f"{folder} is finished: its model is in {folder / MODEL}, its report in {folder / 'report.md'}.")
        return
    training = HeadTraining(arguments.model, data, settings, folder)
    shares = {
        name: {"texts": len(part), "truncated": training.truncated(part)} for name, part in parts.items() if part
    }
    for name, share in shares.items():
        print(
            f"{name.capitalize()}: {share['texts']:,} texts, {share['truncated']:.1%} of them truncated.", flush=True
        )
    make_folder(folder)
    write_json(folder / RUN, {"recipe": recipe})
    repeats = training.run(on_repeat=lambda repeat: print(describe(repeat), flush=True))
    shutil.copytree(training.best_folder, folder / MODEL, dirs_exist_ok=True)
    report = {
        "model": arguments.model,
        "mode": arguments.mode,
        "problem_type": data.problem_type,
        "settings": recipe,
        "data": shares,
        "saved_repeat": best_repeat(repeats),
        "repeats": [dataclasses.asdict(repeat) for repeat in repeats],
        "mean": {
            split: spread([getattr(repeat, split) for repeat in repeats])
            for split in ("development", "test")
            if getattr(repeats[0], split)
        },
        **details(training, data, folder / MODEL),
    }
    table = write_head_report(folder, report)
    shutil.rmtree(folder / TRAINING)
    print(f"\n{table}\n\nThe model is in {folder / MODEL}, the report in {folder}: report.md and report.json.")


def read_data(arguments: TrainHeadArguments) -> HeadData:
    """The labelled texts, checked, in which each label of development and test is one of training."""
    train = read_part(arguments, arguments.train_file, "train")
    if not (arguments.text_column and arguments.label_column):
        print(f"Texts are in column {train.text_column!r}, labels in {train.label_column!r}.")
    for sentence in check_training(train):
        warn(sentence)
    names = class_names(train)
    kind = "numbers to predict" if train.problem_type == REGRESSION else f"{len(names):,} labels"
    print(f"{arguments.train_file}: {len(train):,} texts, {kind}.")
    development, test = (
        read_part(arguments, source, split, train) if source else None
        for source, split in ((arguments.dev_file, "validation"), (arguments.test_file, "test"))
    )
    for part in (development, test):
        if part:
            label_array(part, names)  # says which label is not among them
            if shared := count_shared(part, train):
                warn(f"{shared:,} of the {len(part):,} texts of {part.source} are in {train.source} too")
    if development is None:
        train, development = split_development(train, arguments.seed)
        if not development:
            warn(
                "there are too few texts to set some aside; training goes on to its last pass, without early stopping"
            )
    if arguments.samples_per_label and development:
        # No more labels to stop by than to learn from (Gao et al. 2021, arXiv:2012.15723).
        development = draw(development, arguments.samples_per_label, arguments.seed)
    return HeadData(train, development or None, test, names)


def read_part(
    arguments: TrainHeadArguments, source: str, split: str, train: LabelledTexts | None = None
) -> LabelledTexts:
    """One of the tables, without its empty texts."""
    found = read_labelled_texts(
        source,
        train.text_column if train else arguments.text_column,
        train.label_column if train else arguments.label_column,
        arguments.label_separator,
        split,
        train.problem_type if train else "",
    )
    kept = without_empty(found)
    if len(kept) < len(found):
        warn(f"{len(found) - len(kept):,} of the {len(found):,} texts of {source} are empty; they are left out")
    return kept


def details(training: HeadTraining, data: HeadData, model: Path) -> dict[str, Any]:
    """Scores of each class and the confusion matrix, of the model as it was saved, on test or else development."""
    part = data.test or data.development
    if part is None or data.problem_type == REGRESSION:
        return {}
    classifier = AsteriskForSequenceClassification.from_pretrained(model)
    logits, labels = training.predict(classifier, part), label_array(part, training.names)
    found: dict[str, Any] = {
        "detail": "test" if data.test else "development",
        "classes": score_classes(logits, labels, training.names, data.problem_type),
    }
    if data.problem_type == SINGLE:
        found["confusion"] = confusion_matrix(logits, labels, training.names)
    return found


def describe(repeat: Repeat) -> str:
    """A training in a line."""
    scores = [
        f"{split} {name} {value:.2f}"
        for split in ("development", "test")
        for name, value in (getattr(repeat, split) or {}).items()
        if value is not None
    ]
    line = f"Trained on {repeat.texts:,} texts, {repeat.passes:g} passes, {repeat.seconds:.1f} s"
    return f"{line}: {', '.join(scores)}." if scores else f"{line}."


def warn(sentence: str) -> None:
    """A line on stderr."""
    print(f"warning: {sentence}.", file=sys.stderr)


if __name__ == "__main__":
    main()
