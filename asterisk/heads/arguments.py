"""The command-line arguments of a head's training, each mode's defaults, and the checks of their ranges."""

from dataclasses import dataclass
from typing import Any

from asterisk.core.arguments import check_options, option
from asterisk.core.errors import UserError
from asterisk.data.arguments import DataArguments
from asterisk.evaluation.arguments import TEMPLATES

# Separates the templates of --label_template.
TEMPLATE_SEPARATOR = "|"

# The defaults of each mode, chosen on development texts by benchmarks/head_defaults.py.
MODES: dict[str, dict[str, Any]] = {
    "frozen": {"learning_rate": 3e-3, "num_epochs": 60, "batch_size": 64, "patience": 8, "learning_curve": True},
    "lora": {"learning_rate": 2e-3, "num_epochs": 20, "batch_size": 32, "patience": 3, "learning_curve": False},
    "full": {"learning_rate": 1e-3, "num_epochs": 10, "batch_size": 32, "patience": 2, "learning_curve": False},
}


def _defaults(name: str) -> str:
    values = ", ".join(f"{defaults[name]:g} for {mode}" for mode, defaults in MODES.items())
    return f"(default: {values})"


@dataclass
class HeadArguments:
    """Training: the mode, the optimizer, and the number of texts and repeats."""

    mode: str = option(
        "frozen",
        "frozen (train the head alone), lora (head and adapters, merged at the end) or full (all)",
        choices=tuple(MODES),
    )
    samples_per_label: int | None = option(
        None, "number of training texts of each label, drawn with the seed (default: all)", least=1
    )
    repeats: int = option(
        1, "number of trainings with different draws and seeds; the best one on development texts is saved", least=1
    )
    learning_rate: float | None = option(None, f"peak learning rate of AdamW {_defaults('learning_rate')}", above=0)
    num_epochs: int | None = option(
        None, f"maximum number of passes over the training texts {_defaults('num_epochs')}", least=1
    )
    batch_size: int | None = option(None, f"texts per training step {_defaults('batch_size')}", least=1)
    patience: int | None = option(
        None, f"stop after this many passes without a lower development loss {_defaults('patience')}", least=1
    )
    warmup_ratio: float = option(0.1, "share of the steps in which the learning rate rises linearly", least=0, below=1)
    weight_decay: float = option(0.01, "weight decay of AdamW, for matrices only", least=0, below=1)
    dropout: float | None = option(None, "dropout in the head (default: the model's)", least=0, below=1)
    layer_decay: float = option(
        0.8, "mode full: learning rate of a layer as a fraction of the rate of the layer above", above=0
    )
    perturbation: float = option(
        0.2,
        "mode full: norm of the adversarial shift of each text's token vectors; 0 is faster, without adversarial "
        "training",
        least=0,
    )
    lora_rank: int = option(16, "mode lora: rank of the adapters", least=1)
    keep_adapters: bool = option(
        False, "mode lora: also save the adapters and the head for peft, in OUTPUT_DIR/adapters"
    )
    head_first: int = option(
        64,
        "modes lora and full: with fewer training texts per label on average, a new head is first trained alone",
        least=0,
    )
    class_weights: bool = option(False, "weight each label inversely to its frequency in the training texts")
    learning_curve: bool | None = option(
        None, "also train on 1/8, 1/4 and 1/2 of the texts and report the scores (default: in mode frozen only)"
    )
    seed: int = option(0, "seed of the development split, the draws, the initial weights and the order")


@dataclass(kw_only=True)
class HeadSettings(HeadArguments):
    """[`HeadArguments`], with the mode's defaults filled in by [`resolve_arguments`].

    `samples_per_label` None means all texts, and `dropout` None means the model's.
    """

    learning_rate: float
    num_epochs: int
    batch_size: int
    patience: int
    learning_curve: bool


@dataclass
class DecisionArguments:
    """Decisions: the threshold below which no label is given."""

    none_label: str = option(
        "",
        "label of the texts to which no other label applies; it is not learned, but used to choose the "
        "'none of these' threshold with the best macro-F1 (default: --target_accuracy determines the threshold)",
    )
    target_accuracy: float = option(
        0.95, "minimum accuracy on development texts above the 'none of these' threshold", above=0, most=1
    )


@dataclass
class PseudoLabelArguments:
    """Labelling: how a teacher labels unlabelled training texts."""

    zero_shot_labels: str = option(
        "",
        "train on unlabelled texts: comma-separated labels, with a description where a name is unclear "
        "(billing=a question about an invoice,other)",
    )
    label_template: str = option(
        TEMPLATE_SEPARATOR.join(TEMPLATES),
        "text to embed for a label, whose name replaces {}; embeddings of several texts, separated by |, are averaged",
    )
    teacher: str = option("", "model of any kind that labels the texts (default: the model itself)")
    keep_share: float = option(
        0.5, "share of the texts to keep: the most confident ones, evenly over the labels", above=0, most=1
    )


@dataclass
class TrainHeadArguments(DecisionArguments, PseudoLabelArguments, HeadArguments, DataArguments):
    """Run: the model to train and the output folder."""

    model: str = option("", "Asterisk to train: a folder, Hub id or package:NAME", required=True)
    output_dir: str = option("", "folder for the model and the report", required=True)
    resume: bool = option(False, "continue the training in OUTPUT_DIR, or start it")


def resolve_arguments(arguments: HeadArguments) -> HeadSettings:
    """Check the arguments, and replace None by the mode's defaults.

    Raises:
        UserError: An argument is out of range or contradicts the mode.
    """
    check_options(arguments)
    given = {name: getattr(arguments, name) for name in HeadSettings.__dataclass_fields__}
    defaults = {name: value for name, value in MODES[arguments.mode].items() if given[name] is None}
    settings = HeadSettings(**given | defaults)
    if settings.keep_adapters and settings.mode != "lora":
        raise UserError("--keep_adapters requires --mode lora: no other mode trains adapters.")
    return settings
