"""A run of train_head.py: from labelled texts to a classifier, its card and its report."""

import dataclasses
from pathlib import Path
from typing import Any

from asterisk.core.errors import redact
from asterisk.core.files import atomic_folder, make_folder, remove_folder, write_json
from asterisk.core.run_folder import RUN_FILE, check_run_folder
from asterisk.data.labels import LabelledTexts, label_array
from asterisk.data.splits import HeadData, head_data_of, read_head_data, read_unlabelled, warn
from asterisk.heads.arguments import HeadSettings, TrainHeadArguments, resolve_arguments
from asterisk.heads.card import write_head_card
from asterisk.heads.decisions import decide
from asterisk.heads.measures import measure_head
from asterisk.heads.page import write_head_report
from asterisk.heads.report import REPORT_FILE, HeadReport, Repeat, SplitSize, ZeroShotRecord
from asterisk.heads.scores import score_labels, spread
from asterisk.heads.training import TRAINING, HeadTraining, best_repeat
from asterisk.heads.zero_shot_labels import ZeroShotTeacher
from asterisk.models.checkpoints import save_student
from asterisk.models.load import load_encoder

MODEL = "model"

# Arguments that may differ when a run is resumed.
NOT_IN_RECIPE = ("output_dir", "resume")


def train_head(arguments: TrainHeadArguments) -> None:
    """Read the texts, train, choose the thresholds, measure, and write the output folder.

    Raises:
        UserError: An argument, a table or the model is wrong, or the output folder holds something else.
    """
    settings = resolve_arguments(arguments)
    folder = Path(arguments.output_dir)
    data, zero_shot = _read_data(arguments)
    recipe = _recipe(arguments, settings, data)
    check_run_folder(folder, recipe, arguments.resume)
    if (folder / REPORT_FILE).exists():
        remove_folder(folder / TRAINING)  # left by a run that was killed at its end
        print(f"{folder} is finished: the model is in {folder / MODEL}, the report in {folder / 'report.html'}.")
        return
    training = HeadTraining(arguments.model, data, settings, folder)
    sizes = {name: SplitSize(len(part), training.truncated(part)) for name, part in _parts(data).items()}
    for name, size in sizes.items():
        print(f"{name.capitalize()}: {size.texts:,} texts, {size.truncated:.1%} truncated.", flush=True)
    if not (folder / RUN_FILE).exists():
        make_folder(folder)
        write_json(folder / RUN_FILE, {"recipe": recipe})
    repeats = training.run(on_repeat=lambda repeat: print(_describe(repeat), flush=True))
    best = best_repeat(repeats)
    model = training.best_model()
    decisions = decide(training, model, arguments)
    scores = {split: [repeat.scores(split) for repeat in repeats] for split in ("development", "test")}
    report = HeadReport(
        model=arguments.model,
        mode=settings.mode,
        problem_type=data.problem_type,
        settings=recipe,
        data=sizes,
        saved_repeat=best,
        repeats=repeats,
        mean={split: spread([line for line in lines if line]) for split, lines in scores.items() if lines[0]},
        decisions=decisions,
        zero_shot=zero_shot,
        learning_curve=training.learning_curve(repeats[best]),
        **vars(measure_head(training, model)),
    )
    with atomic_folder(folder / MODEL) as temporary:
        save_student(model, training.tokenizer, temporary)
        write_head_card(temporary, report, training.names)
    if settings.keep_adapters:
        from asterisk.heads.adapters import ADAPTERS, save_adapters

        save_adapters(model, training.adapters_of(best), arguments.model, folder / ADAPTERS)
    table = write_head_report(folder, report)
    remove_folder(folder / TRAINING)
    print(f"\n{table}\n\nThe model is in {folder / MODEL}, the report in {folder}: report.html, .md and .json.")


def _parts(data: HeadData) -> dict[str, LabelledTexts]:
    parts = {"train": data.train, "development": data.development, "test": data.test}
    return {name: part for name, part in parts.items() if part}


def _recipe(arguments: TrainHeadArguments, settings: HeadSettings, data: HeadData) -> dict[str, Any]:
    """Return everything that determines the result: the settings and a hash of each part of the data."""
    recipe = dataclasses.asdict(arguments) | dataclasses.asdict(settings)
    recipe = redact({name: value for name, value in recipe.items() if name not in NOT_IN_RECIPE})
    hashes = {name: part.content_hash() for name, part in _parts(data).items()}
    for name, texts in (("development_none", data.development_none), ("test_none", data.test_none)):
        if texts:
            hashes[name] = dataclasses.replace(data.train, texts=texts, labels=[]).content_hash()
    return {**recipe, "data": hashes}


def _read_data(arguments: TrainHeadArguments) -> tuple[HeadData, ZeroShotRecord | None]:
    """Read the data; for unlabelled texts, also return the record of the teacher's labelling."""
    per_label, seed = arguments.samples_per_label, arguments.seed
    if not arguments.zero_shot_labels:
        return read_head_data(arguments, arguments.none_label, per_label, seed), None
    if not arguments.teacher:
        print(f"{arguments.model} labels the texts itself; --teacher can name a better model.")
    teacher = ZeroShotTeacher(load_encoder(arguments.teacher or arguments.model), arguments)
    texts = read_unlabelled(arguments)
    train, record = teacher.label(texts.texts, arguments.train_file, texts.text_column)
    print(f"{teacher.encoder.name} labelled {len(texts):,} texts; the {len(train):,} most confident labels are kept.")
    if rare := [name for name, count in record.kept_of_label.items() if count < 2]:
        warn(f"{len(rare):,} labels, such as {rare[0]!r}, have fewer than two texts; describe these labels in words")
    data = head_data_of(train, teacher.names, arguments, arguments.none_label, per_label, seed)
    if data.test:
        labels = label_array(data.test, teacher.names)
        record.teacher_on_test = score_labels(teacher.decide(data.test.texts)[0], labels)
        accuracy = record.teacher_on_test["accuracy"]
        print(f"{teacher.encoder.name} labels {accuracy:.2f} % of the test texts correctly.")
    return data, record


def _describe(repeat: Repeat) -> str:
    """Describe a training in one line."""
    scores = [
        f"{split} {name} {value:.2f}"
        for split in ("development", "test")
        for name, value in (repeat.scores(split) or {}).items()
        if value is not None
    ]
    line = f"Trained on {repeat.texts:,} texts, {repeat.passes:g} passes, {repeat.seconds:.1f} s"
    return f"{line}: {', '.join(scores)}." if scores else f"{line}."
