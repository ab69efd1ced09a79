"""Trains a classifier on labelled texts, or on unlabelled ones: a head on an Asterisk.

    python train_head.py --model runs/demo/model --train_file train.csv --output_dir runs/mine
    python train_head.py --model M --train_file train.csv --test_file test.csv --mode full --output_dir O
    python train_head.py --model M --train_file train.csv --samples_per_label 8 --repeats 10 --output_dir O
    python train_head.py --model M --train_file train.csv --search 5 --output_dir O
    python train_head.py --model M --train_file texts.txt --zero_shot_labels "a,b,c" --teacher T --output_dir O

A table is a CSV, TSV, JSONL, JSON or Parquet file, a folder of them, or a Hub dataset. Labels are words or whole
numbers, several of a text as a list or with --label_separator, or other numbers, which are then predicted. Without
--dev_file a tenth of the training texts is set aside to say when to stop, and how sure is sure enough. In
--output_dir: model/ (for AutoModelForSequenceClassification and pipeline("text-classification")), adapters/ if they
are kept, report.html, .md and .json, and run.json.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point, redact
from asterisk.core.files import atomic_folder, make_folder, read_json, remove_folder, write_json
from asterisk.core.run_folder import RUN_FILE, check_run_folder
from asterisk.data.labels import label_array
from asterisk.data.splits import DataArguments, HeadData, head_data_of, read_head_data, read_unlabelled, warn
from asterisk.heads.arguments import HeadArguments, resolve_arguments
from asterisk.heads.card import write_head_card
from asterisk.heads.decisions import DecisionArguments, check_decisions, decide
from asterisk.heads.report import measure_head, write_head_report
from asterisk.heads.scores import score_labels, spread
from asterisk.heads.training import TRAINING, HeadTraining, Repeat, best_repeat
from asterisk.heads.zero_shot_labels import PseudoLabelArguments
from asterisk.models.checkpoints import save_student

MODEL = "model"

# Fields that may differ when a run is resumed.
NOT_THE_RUN = ("output_dir", "resume")


@dataclass
class TrainHeadArguments(DecisionArguments, PseudoLabelArguments, HeadArguments, DataArguments):
    """What is trained on what."""

    model: str = field(default="", metadata={"help": "an Asterisk: a folder, Hub id or package:NAME"})
    output_dir: str = field(default="", metadata={"help": "where the model and the report go"})
    resume: bool = field(default=False, metadata={"help": "continue the training in OUTPUT_DIR, or begin it"})


@entry_point
def main() -> None:
    """Reads, trains, saves, measures."""
    arguments = parse_arguments(TrainHeadArguments, __doc__ or "")
    for name in ("model", "train_file", "output_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing; --help shows whole commands.")
    settings: Any = resolve_arguments(arguments)
    check_decisions(arguments)
    folder = Path(arguments.output_dir)
    data, zero_shot = read_data(arguments)
    recipe = redact({name: value for name, value in dataclasses.asdict(settings).items() if name not in NOT_THE_RUN})
    parts = {"train": data.train, "development": data.development, "test": data.test}
    recipe["data"] = {name: part.content_hash() for name, part in parts.items() if part}
    for name, texts in (("development_none", data.development_none), ("test_none", data.test_none)):
        if texts:
            recipe["data"][name] = dataclasses.replace(data.train, texts=texts, labels=[]).content_hash()
    check_run_folder(folder, recipe, arguments.resume)
    if (folder / "report.json").exists():
        remove_folder(folder / TRAINING)  # a run that is killed may leave it
        print(f"{folder} is finished: its model is in {folder / MODEL}, its report in {folder / 'report.html'}.")
        return
    training = HeadTraining(arguments.model, data, settings, folder)
    shares = {
        name: {"texts": len(part), "truncated": training.truncated(part)} for name, part in parts.items() if part
    }
    for name, share in shares.items():
        print(
            f"{name.capitalize()}: {share['texts']:,} texts, {share['truncated']:.1%} of them truncated.", flush=True
        )
    search = settings_of_search(training, folder, recipe)
    repeats = training.run(on_repeat=lambda repeat: print(describe(repeat), flush=True))
    saved = repeats[best_repeat(repeats)]
    model = training.best_model()
    decisions = decide(training, model, arguments)
    report = {
        "model": arguments.model,
        "mode": arguments.mode,
        "problem_type": data.problem_type,
        "settings": recipe,
        "search": search,
        "zero_shot": zero_shot,
        "data": shares,
        "saved_repeat": best_repeat(repeats),
        "repeats": [dataclasses.asdict(repeat) for repeat in repeats],
        "mean": {
            split: spread([getattr(repeat, split) for repeat in repeats])
            for split in ("development", "test")
            if getattr(repeats[0], split)
        },
        "learning_curve": training.learning_curve(saved),
        "decisions": decisions,
        **measure_head(training, model),
    }
    with atomic_folder(folder / MODEL) as temporary:
        save_student(model, training.tokenizer, temporary)
        write_head_card(temporary, report, training.names)
    if settings.keep_adapters:
        from asterisk.heads.adapters import ADAPTERS, save_adapters

        save_adapters(model, training.adapters_of(best_repeat(repeats)), arguments.model, folder / ADAPTERS)
    table = write_head_report(folder, report)
    remove_folder(folder / TRAINING)
    print(f"\n{table}\n\nThe model is in {folder / MODEL}, the report in {folder}: report.html, .md and .json.")


def read_data(arguments: TrainHeadArguments) -> tuple[HeadData, dict[str, Any] | None]:
    """What is trained on; and of texts without labels, how they got some."""
    few, seed = arguments.samples_per_label, arguments.seed
    if not arguments.zero_shot_labels:
        return read_head_data(arguments, arguments.none_label, few, seed), None
    from asterisk.heads.zero_shot_labels import ZeroShotTeacher
    from asterisk.models.load import load_encoder  # both take a moment to import

    if not arguments.teacher:
        print(f"{arguments.model} labels the texts itself; --teacher may name a better model.")
    teacher = ZeroShotTeacher(load_encoder(arguments.teacher or arguments.model), arguments)
    texts = read_unlabelled(arguments)
    train, record = teacher.label(texts.texts, arguments.train_file, texts.text_column)
    print(f"{teacher.encoder.name} labelled {len(texts):,} texts, of which the {len(train):,} surest are kept.")
    if rare := [name for name, count in record["kept_of_label"].items() if count < 2]:
        warn(f"{len(rare):,} labels, such as {rare[0]!r}, are the nearest of hardly any text; describe them in words")
    data = head_data_of(train, teacher.names, arguments, arguments.none_label, few, seed)
    if data.test:
        numbers = label_array(data.test, teacher.names)
        record["teacher_on_test"] = score_labels(teacher.decide(data.test.texts)[0], numbers)
        print(
            f"Of the test texts {teacher.encoder.name} labels {record['teacher_on_test']['accuracy']:.2f} % rightly."
        )
    return data, record


def settings_of_search(training: HeadTraining, folder: Path, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """Searches for settings if that is asked for and not done yet, and has the training use the best."""
    record = read_json(folder / RUN_FILE) if (folder / RUN_FILE).exists() else {"recipe": recipe}
    if training.arguments.search and "search" not in record:
        from asterisk.heads.search import search_settings  # optuna takes a moment to import

        record["search"] = search_settings(training)
    make_folder(folder)
    write_json(folder / RUN_FILE, record)
    search = record.get("search")
    if search:
        training.arguments = dataclasses.replace(training.arguments, **search["settings"])
        listed = ", ".join(f"{name} {value:.4g}" for name, value in search["settings"].items())
        print(f"Best of {search['trials']} trials: {listed}.", flush=True)
    return search


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


if __name__ == "__main__":
    main()
