"""The model card: a template filled from result files, so that no figure is typed by hand."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.core.markdown import aligned_table
from asterisk.distillation.curves import plot_curves
from asterisk.evaluation.sts import SentencePairs
from asterisk.publishing.arguments import PublishArguments
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.dial import dial_table, plot_dial, read_dial
from asterisk.publishing.resources import resource
from asterisk.publishing.result_files import Scores, read_scores
from asterisk.publishing.training_run import NOT_STATED, TrainingRun, read_training_run
from asterisk.reporting.names import display_name
from asterisk.reporting.plots import CLASS_COLOURS, FIRST, NEUTRAL, SECOND

FIGURES = "figures"
COLOURS = (FIRST, SECOND, NEUTRAL, *CLASS_COLOURS)
EMBEDDING_TAGS = ("asterisk", "sentence-transformers", "feature-extraction", "sentence-similarity", "distillation")


@dataclass
class CardContent:
    """The files behind the card, read before anything is computed."""

    run: TrainingRun
    scores: list[Scores]
    # The record of the dial, if there is one.
    dial: dict[str, Any] | None = None


def read_card_content(checkpoint: Checkpoint, arguments: PublishArguments) -> CardContent:
    """Read the training run and the results; raise a [`UserError`] if a file is malformed or about another model."""
    default = checkpoint.folder.resolve().parent / ("report.json" if checkpoint.is_classifier else "results.json")
    # The results beside the checkpoint are those of the whole model.
    is_whole = arguments.layers < 0 and not arguments.space
    paths = [Path(name) for name in arguments.results] or ([default] if is_whole and default.is_file() else [])
    for path in paths:
        check_measured_model(checkpoint, path)
    return CardContent(
        read_training_run(checkpoint.folder, arguments.training_data),
        [read_scores(path) for path in paths],
        read_dial(Path(arguments.dial), checkpoint.config) if arguments.dial else None,
    )


def check_measured_model(checkpoint: Checkpoint, path: Path) -> None:
    """Raise a [`UserError`] if results name other weights or another number of parameters."""
    content = read_json(path)
    if isinstance(content, dict) and "model" in content and "scores" in content:
        from asterisk.models.load import load_encoder

        if content["model"]["revision"] != load_encoder(str(checkpoint.folder)).revision:
            raise UserError(
                f"{path} was measured on a model other than {checkpoint.folder} or with other settings; measure that "
                "folder (evaluate_mteb.py --model) in float32 and with all its dimensions."
            )
    elif isinstance(content, list) and content:
        found, size = content[-1].get("parameters"), checkpoint.backbone.num_parameters()
        if found != size:
            raise UserError(f"{path} is about a model of {found:,} parameters, but {checkpoint.folder} has {size:,}.")


def write_card(
    checkpoint: Checkpoint,
    folder: Path,
    record: dict[str, Any],
    pairs: SentencePairs,
    arguments: PublishArguments,
    content: CardContent,
) -> None:
    """Write README.md and its figures into the published folder.

    Args:
        checkpoint: The published model.
        folder: The published folder.
        record: The record of the verification on `pairs`.
        pairs: The sentence pairs, whose first texts are the default examples.
        arguments: The publisher's statements.
        content: The files behind the card.

    Raises:
        UserError: The metadata cannot be written as YAML.
    """
    config, recipe, has_onnx = checkpoint.config, content.run.recipe, (folder / "onnx").is_dir()
    location = arguments.location
    teacher = arguments.base_model or display_name(str(recipe.get("teacher") or recipe.get("model") or ""))
    texts = arguments.examples or [pairs.first[0], *dict.fromkeys(pairs.second[:3])]
    environment = Environment(
        loader=FileSystemLoader(resource("model_card")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = lambda value: json.dumps(value, ensure_ascii=False)
    body = environment.get_template("classifier.md" if checkpoint.is_classifier else "embedding.md").render(
        repo_id=location,
        revision=arguments.pin,
        native=arguments.native,
        license=arguments.license,
        languages=arguments.language,
        name=_model_name(arguments),
        on_hub=re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", location) is not None and not Path(location).exists(),
        has_onnx=has_onnx,
        has_gguf=(folder / "gguf").is_dir(),
        # The twin leaves out the exits.
        parameters=sum(
            weight.numel()
            for name, weight in checkpoint.model.named_parameters()
            if not (arguments.native and name.startswith("exits."))
        ),
        config=config,
        max_length=checkpoint.max_length,
        labels=[config.id2label[index] for index in range(len(config.id2label or {}))],  # type: ignore[index]
        teacher=teacher,
        teachers=[teacher, *map(display_name, recipe.get("more_teachers") or ())] if teacher else [],
        label_tasks=[Path(task).stem for task in recipe.get("label_tasks") or ()],
        extremes=next(filter(None, (scores.extremes for scores in content.scores)), None),
        run=content.run,
        recipe=recipe,
        licensed=any(source.licence != NOT_STATED for source in content.run.sources),
        scores=content.scores,
        dial=content.dial,
        dial_table=dial_table(content.dial) if content.dial else "",
        figures=draw_figures(checkpoint, folder / FIGURES, content),
        forms=forms_table(record),
        texts=texts,
        record=record,
        reference=pairs.name,
    )
    data = card_data(checkpoint, arguments, content, texts, has_onnx)
    text = f"---\n{data.to_yaml()}\n---\n{body}"
    # The metadata must survive the round trip through YAML.
    if ModelCard(text).data.to_dict() != data.to_dict():
        raise UserError("The card's metadata cannot be written as YAML; give plain names and licences.")
    (folder / "README.md").write_text(text, encoding="utf-8")


def draw_figures(checkpoint: Checkpoint, folder: Path, content: CardContent) -> list[str]:
    """Draw the curves, the comparison with other models and the dial, as available; return the file names."""
    compared = [scores for scores in content.scores if len(scores.models) > 1 and not checkpoint.is_classifier]
    if not (content.run.curves or compared or content.dial):
        return []
    folder.mkdir()
    if content.run.curves:
        plot_curves(content.run.curves, folder / "curves.png")
    if compared:
        plot_scores(max(compared, key=lambda scores: len(scores.rows)), folder / "scores.png")
    if content.dial:
        plot_dial(content.dial, folder / "dial.png")
    return sorted(path.name for path in folder.iterdir())


def card_data(
    checkpoint: Checkpoint, arguments: PublishArguments, content: CardContent, texts: list[str], has_onnx: bool
) -> ModelCardData:
    """Return the card's metadata for the Hub."""
    sources = [
        source.name.removeprefix("hub:").partition(":")[0] for source in content.run.sources if "hub:" in source.name
    ]
    common: dict[str, Any] = {
        "language": arguments.language,
        "license": arguments.license,
        "base_model": arguments.base_model or None,
        "datasets": sources or None,
        "model_name": _model_name(arguments),
        "eval_results": [entry for scores in content.scores for entry in scores.entries] or None,
    }
    if checkpoint.is_classifier:
        return ModelCardData(
            pipeline_tag="text-classification",
            library_name="transformers",
            tags=["asterisk", "text-classification", "onnx"],
            base_model_relation="finetune" if arguments.base_model else None,
            widget=[{"text": text} for text in texts],
            **common,
        )
    return ModelCardData(
        pipeline_tag="sentence-similarity",
        library_name="sentence-transformers",
        tags=[*EMBEDDING_TAGS, *(["onnx"] if has_onnx else [])],
        widget=[{"source_sentence": texts[0], "sentences": texts[1:]}],
        **common,
    )


def _model_name(arguments: PublishArguments) -> str:
    return arguments.location.rstrip("/").rpartition("/")[2]


def forms_table(record: dict[str, Any]) -> str:
    """Return a Markdown table of the forms, their sizes and their agreement with the checkpoint."""
    forms: dict[str, dict[str, Any]] = record["forms"]
    measured = [
        name for name in next(iter(forms.values())) if name not in ("tolerance", "lowest_cosine", "mean_cosine")
    ]
    head = ["form", "MB", "lowest cosine", *(name.replace("_", " ") for name in measured)]
    lines = []
    for name, line in forms.items():
        size = f"{line['bytes'] / 1e6:.1f}" if "bytes" in line else ""
        values = [f"{line[each]:.1%}" if each == "same_label" else f"{line[each]:.2f}" for each in measured]
        lines.append([name, size, f"{line['lowest_cosine']:.5f}", *values])
    return aligned_table([head, *lines])


def plot_scores(scores: Scores, path: Path) -> None:
    """Draw the models side by side on each task."""
    rows = [(name, values) for name, values in scores.rows if None not in values]
    figure = Figure(figsize=(8, 1 + 0.12 * len(rows) * (len(scores.models) + 1)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(scores.models)
    for index, model in enumerate(scores.models):
        places = [row + index * height for row in range(len(rows))]
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(places, [values[index] or 0 for _, values in rows], height, color=colour, label=model)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(rows))], [name for name, _ in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlabel=scores.explanation, xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=2)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
