"""How a student is trained: what may be chosen, and what is out of range."""

from dataclasses import dataclass, field

from asterisk.core.errors import UserError
from asterisk.models.precision import computes_bfloat16


@dataclass
class TrainingArguments:
    """How a student is trained."""

    num_epochs: float = field(default=1.0, metadata={"help": "passes over the training sentences"})
    max_steps: int = field(default=0, metadata={"help": "if above 0, the number of steps, instead of num_epochs"})
    batch_size: int = field(default=256, metadata={"help": "sentences on each process at a time"})
    gradient_accumulation_steps: int = field(
        default=1, metadata={"help": "batches of each process that make one step together"}
    )
    learning_rate: float = field(default=2e-3, metadata={"help": "peak learning rate of AdamW"})
    warmup_ratio: float = field(default=0.05, metadata={"help": "share of the steps in which the learning rate rises"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of AdamW, on matrices alone"})
    muon_factor: float = field(
        default=2.5,
        metadata={
            "help": "an Asterisk's layers are trained by Muon (Jordan 2024), at so many times the learning rate; "
            "0: by AdamW, as all else"
        },
    )
    max_grad_norm: float = field(default=1.0, metadata={"help": "the gradient is scaled down to this norm"})
    cosine_weight: float = field(
        default=1.0, metadata={"help": "weight of 1 - cosine to the teacher's projected vector (Asterisk*)"}
    )
    mse_weight: float = field(
        default=0.0, metadata={"help": "weight of the mean squared error to the same (Asterisk*, HPD)"}
    )
    similarity_weight: float = field(
        default=0.0, metadata={"help": "weight of the error in the batch's pairwise cosines (Jasper and Stella)"}
    )
    simcse_weight: float = field(
        default=0.0, metadata={"help": "weight of the contrast between two dropout masks (SimCSE, DistilFACE)"}
    )
    pair_weight: float = field(
        default=1.0, metadata={"help": "weight of the contrast between labelled pairs, if there are any (SimCSE)"}
    )
    pair_ratio: float = field(
        default=0.25, metadata={"help": "labelled and scored pairs of a batch, as a share of its other sentences"}
    )
    ranking_weight: float = field(
        default=1.0, metadata={"help": "weight of the order of the scored pairs' cosines, if there are any (CoSENT)"}
    )
    guided_negatives: bool = field(
        default=True, metadata={"help": "drop negatives the teacher finds closer than the positive (GISTEmbed)"}
    )
    temperature: float = field(default=0.05, metadata={"help": "temperature of the contrasts and of the order"})
    matryoshka_dims: list[int] = field(
        default_factory=list,
        metadata={"help": "also learn to be truncated to each of these numbers of dimensions (Matryoshka)"},
    )
    ema_decay: float = field(
        default=0.0, metadata={"help": "if above 0, the student is an exponential moving average with this decay"}
    )
    average_checkpoints: int = field(default=1, metadata={"help": "average so many last checkpoints at the end"})
    mixed_precision: str = field(
        default="auto", metadata={"help": "auto (bf16 where the processor computes in it), no, bf16 or fp16"}
    )
    torch_compile: bool = field(default=False, metadata={"help": "compile the student (on a CPU, needs g++)"})
    log_with: str = field(default="", metadata={"help": "a tracker of Accelerate: tensorboard, wandb, ..."})
    heldout: int = field(default=1000, metadata={"help": "sentences kept out of training, to measure agreement on"})
    eval_steps: int = field(default=100, metadata={"help": "steps between measurements"})
    checkpoint_steps: int = field(default=500, metadata={"help": "steps between checkpoints, for --resume"})
    seed: int = field(default=0, metadata={"help": "seed of the initial weights and of the order of the sentences"})


def check_arguments(arguments: TrainingArguments, dimensions: int, has_teacher: bool) -> None:
    """Refuses what is out of range for a student of so many dimensions.

    Raises:
        UserError: Says which argument, and what would be right.
    """
    positive = ("batch_size", "gradient_accumulation_steps", "average_checkpoints", "heldout", "eval_steps")
    for name in (*positive, "checkpoint_steps"):
        if getattr(arguments, name) < 1:
            raise UserError(f"{name} must be at least 1, not {getattr(arguments, name)}.")
    if not arguments.num_epochs > 0:
        raise UserError(f"num_epochs must be above 0, not {arguments.num_epochs}.")
    if arguments.muon_factor < 0:
        raise UserError(f"muon_factor must be 0 or above, not {arguments.muon_factor}.")
    if not 0 <= arguments.ema_decay < 1:
        raise UserError(f"ema_decay must lie from 0 up to, not including, 1, not {arguments.ema_decay}.")
    if arguments.ema_decay and arguments.average_checkpoints > 1:
        raise UserError("Give either ema_decay or average_checkpoints: both average the student's weights.")
    if wrong := [own for own in arguments.matryoshka_dims if not 0 < own < dimensions]:
        raise UserError(f"matryoshka_dims must lie between 1 and {dimensions - 1}, not {wrong[0]}.")
    if not has_teacher and not arguments.simcse_weight:
        raise UserError("Without a teacher only contrast can teach: set --simcse_weight above 0, or give a --teacher.")


def precision(name: str) -> str:
    """What Accelerate is to compute in: `name`, or for auto what suits the processor.

    Raises:
        UserError: There is no such precision.
    """
    if name == "auto":
        return "bf16" if computes_bfloat16() else "no"
    if name not in ("no", "bf16", "fp16"):
        raise UserError(f"mixed_precision must be auto, no, bf16 or fp16, not {name!r}.")
    return name
