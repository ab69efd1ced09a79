"""The command-line arguments of a head's training, each mode's defaults, and the checks of their ranges."""

import dataclasses
from dataclasses import dataclass

from asterisk.core.arguments import option
from asterisk.core.errors import UserError
from asterisk.data.arguments import DataArguments
from asterisk.evaluation.arguments import TEMPLATES

# Separates the templates of --label_template.
TEMPLATE_SEPARATOR = "|"


@dataclass(frozen=True)
class ModeDefaults:
    """The settings of a mode that replace missing arguments."""

    learning_rate: float
    num_epochs: int
    batch_size: int
    patience: int


# Chosen on development texts by benchmarks/head_defaults.py.
MODES = {
    "frozen": ModeDefaults(learning_rate=3e-3, num_epochs=60, batch_size=64, patience=8),
    "lora": ModeDefaults(learning_rate=2e-3, num_epochs=20, batch_size=32, patience=3),
    "full": ModeDefaults(learning_rate=1e-3, num_epochs=10, batch_size=32, patience=2),
}


def _defaults(name: str) -> str:
    values = ", ".join(f"{getattr(defaults, name):g} for {mode}" for mode, defaults in MODES.items())
    return f"(default: {values})"


@dataclass
class HeadArguments:
    """Training: the mode, the optimizer, and the number of texts and repeats."""

    mode: str = option(
        "frozen", "frozen (train the head alone), lora (head and adapters, merged at the end) or full (all)"
    )
    samples_per_label: int | None = option(
        None, "number of training texts of each label, drawn with the seed (default: all)"
    )
    repeats: int = option(1, "number of trainings with different draws and seeds; the best on development is saved")
    learning_rate: float | None = option(None, f"peak learning rate of AdamW {_defaults('learning_rate')}")
    num_epochs: int | None = option(
        None, f"maximum number of passes over the training texts {_defaults('num_epochs')}"
    )
    batch_size: int | None = option(None, f"texts per training step {_defaults('batch_size')}")
    patience: int | None = option(
        None, f"stop after this many passes without a lower development loss {_defaults('patience')}"
    )
    warmup_ratio: float = option(0.1, "share of the steps in which the learning rate rises linearly")
    weight_decay: float = option(0.01, "weight decay of AdamW, for matrices only")
    dropout: float | None = option(None, "dropout in the head (default: the model's)")
    layer_decay: float = option(0.8, "mode full: learning rate of a layer as a share of that of the layer above")
    perturbation: float = option(
        0.2,
        "mode full: norm of the adversarial shift of each text's token vectors; 0 trains faster, without "
        "adversarial texts",
    )
    lora_rank: int = option(16, "mode lora: rank of the adapters")
    keep_adapters: bool = option(
        False, "mode lora: also save the adapters and the head for peft, in OUTPUT_DIR/adapters"
    )
    head_first: int = option(
        64,
        "modes lora and full: below this many training texts per label on average, a new head is trained alone first",
    )
    class_weights: bool = option(False, "weight each label inversely to its frequency in the training texts")
    learning_curve: bool | None = option(
        None, "also train on 1/8, 1/4 and 1/2 of the texts and report scores (default: mode frozen only)"
    )
    seed: int = option(0, "seed of the development split, the draws, the initial weights and the order")


@dataclass
class HeadSettings:
    """[`HeadArguments`], with the mode's defaults filled in by [`resolve_arguments`].

    `samples_per_label` None means all texts, and `dropout` None means the model's.
    """

    mode: str
    samples_per_label: int | None
    repeats: int
    learning_rate: float
    num_epochs: int
    batch_size: int
    patience: int
    warmup_ratio: float
    weight_decay: float
    dropout: float | None
    layer_decay: float
    perturbation: float
    lora_rank: int
    keep_adapters: bool
    head_first: int
    class_weights: bool
    learning_curve: bool
    seed: int


@dataclass
class DecisionArguments:
    """Decisions: the threshold below which no label is given."""

    none_label: str = option(
        "",
        "label of the texts that belong to no other label; it is not learned, but used to choose the "
        "'none of these' threshold with the best macro-F1 (default: --target_accuracy chooses the threshold)",
    )
    target_accuracy: float = option(0.95, "minimum accuracy on development texts above the 'none of these' threshold")


@dataclass
class PseudoLabelArguments:
    """Labelling: how training texts without labels get theirs from a teacher."""

    zero_shot_labels: str = option(
        "",
        "train on unlabelled texts: comma-separated labels, each with a description if its name is not "
        "clear (billing=a question about an invoice,other)",
    )
    label_template: str = option(
        TEMPLATE_SEPARATOR.join(TEMPLATES),
        "text to embed for a label, whose name replaces {}; several texts, separated by |, are averaged",
    )
    teacher: str = option("", "model of any kind that labels the texts (default: the model itself)")
    keep_share: float = option(0.5, "share of the texts to keep: the most confident ones, evenly over the labels")


@dataclass
class TrainHeadArguments(DecisionArguments, PseudoLabelArguments, HeadArguments, DataArguments):
    """Run: the model to train and the output folder."""

    model: str = option("", "Asterisk to train: a folder, Hub id or package:NAME")
    output_dir: str = option("", "folder for the model and the report")
    resume: bool = option(False, "continue the training in OUTPUT_DIR, or start it")


def resolve_arguments(arguments: HeadArguments) -> HeadSettings:
    """Replace None by the mode's defaults, and check the ranges.

    Raises:
        UserError: The mode is unknown, or a number is out of range.
    """
    if arguments.mode not in MODES:
        raise UserError(f"--mode must be {', '.join(MODES)}, not {arguments.mode!r}.")
    given = {name: getattr(arguments, name) for name in HeadSettings.__dataclass_fields__}
    defaults = {**dataclasses.asdict(MODES[arguments.mode]), "learning_curve": arguments.mode == "frozen"}
    settings = HeadSettings(**given | {name: value for name, value in defaults.items() if given[name] is None})
    for name in ("samples_per_label", "repeats", "num_epochs", "batch_size", "patience", "lora_rank"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}.")
    for name in ("learning_rate", "layer_decay"):
        if not 0 < getattr(settings, name) < float("inf"):
            raise UserError(f"--{name} must be above 0, not {getattr(settings, name)}.")
    for name in ("warmup_ratio", "weight_decay", "dropout"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 1:
            raise UserError(f"--{name} must be at least 0 and below 1, not {value}.")
    for name in ("head_first", "perturbation"):
        if not 0 <= getattr(settings, name) < float("inf"):
            raise UserError(f"--{name} must be at least 0, not {getattr(settings, name)}.")
    if settings.keep_adapters and settings.mode != "lora":
        raise UserError("--keep_adapters requires --mode lora: no other mode trains adapters.")
    return settings
