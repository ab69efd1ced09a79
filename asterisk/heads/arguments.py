"""How a head is trained: what may be chosen, each mode's defaults, and what is out of range."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from asterisk.core.errors import UserError


@dataclass(frozen=True)
class ModeDefaults:
    """What a mode is trained with unless something else is asked for."""

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


@dataclass
class HeadArguments:
    """How a head is trained."""

    mode: str = field(
        default="frozen",
        metadata={"help": "frozen (the head alone), lora (adapters too, merged at the end) or full (everything)"},
    )
    samples_per_label: int | None = field(
        default=None, metadata={"help": "train on so many texts of each label, drawn with the seed (default: all)"}
    )
    repeats: int = field(
        default=1, metadata={"help": "train so often, with other draws and seeds; the best on development is saved"}
    )
    learning_rate: float | None = field(
        default=None, metadata={"help": "peak learning rate of AdamW (default: the mode's)"}
    )
    num_epochs: int | None = field(
        default=None, metadata={"help": "passes over the training texts, at most (default: the mode's)"}
    )
    batch_size: int | None = field(default=None, metadata={"help": "texts of a step (default: the mode's)"})
    patience: int | None = field(
        default=None,
        metadata={"help": "passes without a lower development loss before stopping (default: the mode's)"},
    )
    warmup_ratio: float = field(default=0.1, metadata={"help": "share of the steps in which the learning rate rises"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of AdamW, on matrices alone"})
    dropout: float | None = field(default=None, metadata={"help": "dropout inside the head (default: the model's)"})
    layer_decay: float = field(
        default=0.8, metadata={"help": "of full: a layer's learning rate as a share of that of the one above"}
    )
    perturbation: float = field(
        default=0.2,
        metadata={
            "help": "of full: also learn from each text with its token vectors moved so far (norm) to where the loss "
            "is higher; 0 is faster"
        },
    )
    lora_rank: int = field(default=16, metadata={"help": "of lora: rank of the adapters"})
    keep_adapters: bool = field(
        default=False,
        metadata={
            "help": "of lora: also save the adapters and the head by themselves, for peft, in OUTPUT_DIR/adapters"
        },
    )
    head_first: int = field(
        default=64,
        metadata={
            "help": "of lora and full: with fewer training texts of a label than this, in the mean, a new head first "
            "learns alone"
        },
    )
    contrastive_epochs: int = field(
        default=0,
        metadata={"help": "of full: first so many passes that pull texts of one label together; for few texts"},
    )
    class_weights: bool = field(
        default=False, metadata={"help": "weigh each label inversely to how frequent it is in training"}
    )
    search: float = field(
        default=0.0,
        metadata={"help": "minutes to look for better settings by the development loss before training"},
    )
    learning_curve: bool | None = field(
        default=None,
        metadata={"help": "report what an eighth, a quarter and half of the texts reach (default: of frozen alone)"},
    )
    seed: int = field(
        default=0, metadata={"help": "seed of the development split, of draws, initial weights and order"}
    )


def resolve_arguments(arguments: HeadArguments) -> HeadArguments:
    """The arguments with the mode's defaults in place of None.

    Raises:
        UserError: There is no such mode, or a number is out of range.
    """
    if arguments.mode not in MODES:
        raise UserError(f"--mode must be {', '.join(MODES)}, not {arguments.mode!r}.")
    defaults: dict[str, Any] = dataclasses.asdict(MODES[arguments.mode])
    defaults["learning_curve"] = arguments.mode == "frozen"
    unset = {name: value for name, value in defaults.items() if getattr(arguments, name) is None}
    arguments = dataclasses.replace(arguments, **unset)
    for name in ("samples_per_label", "repeats", "num_epochs", "batch_size", "patience", "lora_rank"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}.")
    for name in ("learning_rate", "layer_decay"):
        if not 0 < getattr(arguments, name) < float("inf"):
            raise UserError(f"--{name} must be above 0, not {getattr(arguments, name)}.")
    for name in ("warmup_ratio", "weight_decay", "dropout"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value < 1:
            raise UserError(f"--{name} must lie from 0 up to, not including, 1, not {value}.")
    for name in ("search", "contrastive_epochs", "head_first", "perturbation"):
        if not 0 <= getattr(arguments, name) < float("inf"):
            raise UserError(f"--{name} must be at least 0, not {getattr(arguments, name)}.")
    if arguments.contrastive_epochs and arguments.mode != "full":
        raise UserError("--contrastive_epochs trains the backbone, which only --mode full does; give that mode too.")
    if arguments.keep_adapters and arguments.mode != "lora":
        raise UserError("--keep_adapters keeps what only --mode lora trains; give that mode too.")
    return arguments
