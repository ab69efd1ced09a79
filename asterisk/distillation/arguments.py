"""The arguments of a distillation, one class per group of `--help`, and the check of their ranges."""

from dataclasses import dataclass

from asterisk.core.arguments import check_options, option
from asterisk.core.errors import UserError
from asterisk.data.arguments import CorpusArguments
from asterisk.teachers.arguments import TeacherArguments


@dataclass
class StudentArguments:
    """Student: its sizes and its tokenizer, or the encoder that becomes the student."""

    hidden_size: int = option(256, "width of the student", least=1)
    num_hidden_layers: int = option(2, "number of layers", least=1)
    num_attention_heads: int = option(2, "attention heads per layer", least=1)
    intermediate_size: int = option(512, "width of the feed-forward networks", least=1)
    projection_dim: int = option(
        256,
        "dimensions of the student's embedding; 0 leaves out the projection, so there are hidden_size dimensions",
        least=0,
    )
    exit_layers: list[int] = option(
        [], "depths below num_hidden_layers at which the student has an early exit, such as 1 and 0 (the token table)"
    )
    max_length: int = option(128, "maximum text length of the student, in tokens", least=1)
    position_encoding: str = option("learned", "learned or none")
    is_causal: bool = option(False, "let a token attend to earlier tokens only")
    dropout: float = option(0.0, "dropout of a new Asterisk or of one given by --encoder", least=0, below=1)
    tokenizer: str = option(
        "teacher",
        "teacher; extended:VOCAB_SIZE (the teacher's WordPiece plus the most frequent words it splits); "
        "gpt2; gpt2:FOLDER; trained:VOCAB_SIZE; or a folder or Hub id with a fast tokenizer",
    )
    add_separator: bool = option(
        False,
        "put the tokenizer's CLS token before and its SEP token after every text, as llama.cpp does for WordPiece",
    )
    table: str = option(
        "teacher", "initial token table: teacher (the teacher's vectors of the token strings) or random"
    )
    encoder: str = option("", "train this encoder (folder, Hub id or package:NAME) instead of a new Asterisk")
    keep_layers: list[int] = option([], "layers of the encoder to keep, counted from 0; none given means all")
    encoder_pooling: str = option("mean", "mean, cls or max over the encoder's tokens")
    average_layers: int = option(1, "number of last encoder layers to average before pooling (DistilFACE: 4)")
    encoder_activation: str = option(
        "tanh",
        "activation of the encoder's dense layer to projection_dim: tanh (HPD) or linear; projection_dim 0 means no "
        "dense layer, and folds the projection of an Asterisk given by --encoder into its weights",
    )


@dataclass
class ObjectiveArguments:
    """Objectives: the losses, their weights and the labelled pairs."""

    cosine_weight: float = option(1.0, "weight of 1 - cosine to the projected teacher vector (Asterisk*)", least=0)
    mse_weight: float = option(0.0, "weight of the mean squared error to the same vector (Asterisk*, HPD)", least=0)
    more_teachers: list[str] = option(
        [],
        "further teachers, named like --teacher; the student learns the concatenated vectors (Jasper and Stella)",
    )
    teacher_weights: list[float] = option([], "weight of each teacher's vectors; none given means equal weights")
    exit_weights: list[float] = option(
        [], "weight of the losses at each of --exit_layers; none given means 1 for each", least=0
    )
    similarity_weight: float = option(
        0.0, "weight of the error in the batch's pairwise cosines (Jasper and Stella)", least=0
    )
    relation_weight: float = option(
        0.0,
        "weight of the KL divergence between the teacher's and the student's similarities in the batch (Luxical)",
        least=0,
    )
    simcse_weight: float = option(
        0.0, "weight of the contrast between two dropout masks (SimCSE, DistilFACE)", least=0
    )
    pairs: list[str] = option([], "tables of labelled pairs for a contrastive loss (SimCSE)")
    pair_columns: list[str] = option(
        ["anchor", "positive"], "columns of the pairs: anchor, positive and, optionally, hard negative"
    )
    pair_weight: float = option(1.0, "weight of the contrast between labelled pairs", least=0)
    scored_pairs: list[str] = option(
        [],
        "tables with sentence1, sentence2 and score, whose order the student learns (CoSENT); "
        "TABLE#FIRST,SECOND,SCORE names the columns; -SCORE is a column in which lower means closer",
    )
    ranking_weight: float = option(1.0, "weight of the ranking loss of the scored pairs", least=0)
    pair_ratio: float = option(
        0.25, "number of labelled pairs, and of scored pairs, in a batch, as a fraction of its sentences", above=0
    )
    label_tasks: list[str] = option(
        [],
        "YAML files that name labelled tables and group their labels, for a contrastive loss between groups (SupCon)",
    )
    label_batch_size: int = option(192, "labelled texts in a batch of each process", least=2)
    label_temperature: float = option(0.1, "temperature of the contrast between groups of labels", above=0)
    guided_negatives: bool = option(
        True, "ignore negatives that the teacher finds closer than the positive (GISTEmbed)"
    )
    temperature: float = option(0.05, "temperature of the contrastive and ranking losses", above=0)
    matryoshka_dims: list[int] = option([], "truncated sizes to train as well, in dimensions (Matryoshka)", least=1)


@dataclass
class OptimizationArguments:
    """Training: steps, optimizer, precision and measurements."""

    num_epochs: float = option(1.0, "passes over the training sentences", above=0)
    max_steps: int = option(0, "number of steps; above 0, it overrides num_epochs", least=0)
    batch_size: int = option(256, "sentences in a batch of each process", least=1)
    gradient_accumulation_steps: int = option(1, "batches of each process per step", least=1)
    learning_rate: float = option(2e-3, "peak learning rate of AdamW", above=0)
    warmup_ratio: float = option(0.05, "fraction of the steps for warm-up", least=0, below=1)
    weight_decay: float = option(0.01, "weight decay of AdamW, for matrices only", least=0)
    muon_factor: float = option(
        2.5,
        "Muon (Jordan 2024) trains an Asterisk's layers at this multiple of the learning rate; "
        "0 means AdamW for all weights",
        least=0,
    )
    max_grad_norm: float = option(1.0, "clip the gradient to this norm", above=0)
    average_checkpoints: int = option(1, "number of last checkpoints to average at the end", least=1)
    start_weight: float = option(
        0.0,
        "share of an Asterisk's weights before training in the average with those after training (WiSE-FT); 0 keeps "
        "the trained weights",
        least=0,
        below=1,
    )
    mixed_precision: str = option(
        "auto", "auto (the faster of no and bf16), no, bf16 or fp16", choices=("auto", "no", "bf16", "fp16")
    )
    torch_compile: bool = option(False, "compile the student (on a CPU, needs g++)")
    seed: int = option(0, "seed of the initial weights and of the sentence order")
    heldout: int = option(1000, "sentences held out from training, to measure agreement on", least=1)
    sts_dev: list[str] = option(
        [],
        "NAME=FILE or NAME=HUB_DATASET: benchmarks to measure on every eval_steps; the first one selects best/; "
        "their sentences are left out of the corpus",
    )
    eval_steps: int = option(100, "steps between measurements", least=1)
    checkpoint_steps: int = option(500, "steps between checkpoints, for --resume", least=1)
    log_with: str = option("", "a tracker of Accelerate: tensorboard, wandb, ...")


@dataclass
class OutputArguments:
    """Output: the folders of the run, and the benchmarks for the final table."""

    output_dir: str = option("", "folder of the run")
    store_dir: str = option("", "folder or URL of the teacher's vectors; empty means OUTPUT_DIR/store")
    resume: bool = option(False, "continue the run in OUTPUT_DIR, or start it")
    sts_test: list[str] = option(
        [],
        "NAME=FILE or NAME=HUB_DATASET: benchmarks for the table at the end; their sentences are left out "
        "of the corpus",
    )


@dataclass
class LoopArguments(OptimizationArguments, ObjectiveArguments):
    """The arguments of the training loop."""


@dataclass
class DistillationArguments(OutputArguments, LoopArguments, StudentArguments, TeacherArguments, CorpusArguments):
    """All arguments of train_distill.py."""


def check_arguments(arguments: LoopArguments, dimensions: int, num_exits: int, has_teacher: bool) -> None:
    """Check the loop's arguments, and that they fit the student.

    Args:
        arguments: The arguments to check.
        dimensions: The dimensions of the student's embedding.
        num_exits: The number of the student's exits.
        has_teacher: Whether there are teacher vectors to learn from.

    Raises:
        UserError: An argument is out of range; the message names it and its range.
    """
    check_options(arguments)
    if arguments.exit_weights and len(arguments.exit_weights) != num_exits:
        raise UserError(f"exit_weights must be {num_exits} numbers, one for each exit, not {arguments.exit_weights}.")
    if wrong := [size for size in arguments.matryoshka_dims if size >= dimensions]:
        raise UserError(f"matryoshka_dims must lie between 1 and {dimensions - 1}, not {wrong[0]}.")
    if not has_teacher and not arguments.simcse_weight:
        raise UserError(
            "Without a teacher, only SimCSE can train the student: set --simcse_weight above 0, or give a --teacher."
        )
