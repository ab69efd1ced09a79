"""A classification head on an Asterisk, trained with transformers' Trainer on labelled texts.

Three modes. frozen: the backbone embeds each text once, and the head alone learns, from these embeddings. lora:
low-rank adapters beside the backbone's matrices learn as well (Hu et al. 2021, arXiv:2106.09685), and are merged into
them at the end. full: everything learns, the lower the layer the slower (Howard & Ruder 2018, arXiv:1801.06146).

Training stops when the development loss has stopped falling, and the weights of its lowest value are kept.
"""

import dataclasses
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.trainer_callback import PrinterCallback

from asterisk.cli import UserError
from asterisk.head_report import Scores, score
from asterisk.labelled_data import REGRESSION, SINGLE, LabelledTexts, draw, label_array
from asterisk.manifest import appearing, make_folder, read_json, write_json
from asterisk.processes import this_process
from asterisk.progress import progress_bar
from asterisk.student import save_student
from asterisk.teacher import resolve_model
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification
from modeling_asterisk.modeling_asterisk import AsteriskClassificationHead

# Where a run keeps what it needs to be resumed.
TRAINING = "training"
BEST = "best"
REPEATS = "repeats.json"
EMBEDDINGS = "embeddings.npy"

EVALUATION_BATCH_SIZE = 256

# The matrices of every layer, and the projection; the token table is no matrix that LoRA could be beside cheaply.
LORA_TARGETS = ("qkv_proj", "o_proj", "up_proj", "down_proj", "projection")
HEAD = "classifier"


@dataclass(frozen=True)
class ModeDefaults:
    """What a mode is trained with unless something else is asked for."""

    learning_rate: float
    num_epochs: int
    batch_size: int
    patience: int


MODES = {
    "frozen": ModeDefaults(learning_rate=3e-3, num_epochs=60, batch_size=64, patience=8),
    "lora": ModeDefaults(learning_rate=2e-3, num_epochs=20, batch_size=32, patience=3),
    "full": ModeDefaults(learning_rate=1e-3, num_epochs=15, batch_size=32, patience=3),
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
    layer_decay: float = field(
        default=0.8, metadata={"help": "of full: a layer's learning rate as a share of that of the one above"}
    )
    lora_rank: int = field(default=16, metadata={"help": "of lora: rank of the adapters"})
    class_weights: bool = field(
        default=False, metadata={"help": "weigh each label inversely to how frequent it is in training"}
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
    defaults = dataclasses.asdict(MODES[arguments.mode])
    unset = {name: value for name, value in defaults.items() if getattr(arguments, name) is None}
    arguments = dataclasses.replace(arguments, **unset)
    for name in ("samples_per_label", "repeats", "num_epochs", "batch_size", "patience", "lora_rank"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}.")
    for name in ("learning_rate", "layer_decay"):
        if not 0 < getattr(arguments, name) < float("inf"):
            raise UserError(f"--{name} must be above 0, not {getattr(arguments, name)}.")
    for name in ("warmup_ratio", "weight_decay"):
        if not 0 <= getattr(arguments, name) < 1:
            raise UserError(f"--{name} must lie from 0 up to, not including, 1, not {getattr(arguments, name)}.")
    return arguments


@dataclass
class HeadData:
    """What a head is trained on, stopped by and tested on. `names` are the classes in the order of training's."""

    train: LabelledTexts
    development: LabelledTexts | None
    test: LabelledTexts | None
    names: list[str]

    @property
    def problem_type(self) -> str:
        """Of all three parts."""
        return self.train.problem_type


@dataclass
class Repeat:
    """One training: with which seed, on how many texts, for how long, and what it reached.

    `losses` are the development losses after each pass.
    """

    seed: int
    texts: int
    passes: float
    seconds: float
    losses: list[float]
    development: Scores | None
    test: Scores | None


def load_classifier(
    spec: str, names: Sequence[str], problem_type: str
) -> tuple[AsteriskForSequenceClassification, PreTrainedTokenizerFast, bool]:
    """An Asterisk with a head for these classes, its tokenizer, and whether the head is the model's own.

    It is if it is for the same classes, which then keep their order; or else a new one.

    Args:
        spec: A folder, Hub id or `package:NAME`.
        names: The classes.
        problem_type: As in [`asterisk.labelled_data`].

    Raises:
        UserError: There is no such model, it is no Asterisk, or has no weights or tokenizer.
    """
    location = resolve_model(spec)
    try:
        stored = PreTrainedConfig.get_config_dict(location)[0]
    except (OSError, ValueError) as error:
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    if not stored:
        raise UserError(f"The model folder {spec} has no config.json; give one that train_distill.py wrote.")
    if stored.get("model_type") != AsteriskConfig.model_type:
        raise UserError(
            f"{spec} is not an Asterisk, but of model type {stored.get('model_type')!r}; give a folder that "
            "train_distill.py or train_head.py wrote."
        )
    own = _stored_names(stored, problem_type)
    keeps_head = own is not None and set(own) == set(names)
    names = own if keeps_head and own else names
    try:
        model = AsteriskForSequenceClassification.from_pretrained(
            location,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            problem_type=problem_type,
            ignore_mismatched_sizes=True,  # a head for other classes, which is replaced
        )
        tokenizer = PreTrainedTokenizerFast.from_pretrained(location)
    except (OSError, ValueError) as error:
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    if not keeps_head:
        model.classifier = AsteriskClassificationHead(model.config)
        model.classifier.apply(model._init_weights)
    return model.float(), tokenizer, keeps_head


def _stored_names(config: dict[str, Any], problem_type: str) -> list[str] | None:
    """The classes that a stored model has a head for; None if it has none for such a problem."""
    is_classifier = AsteriskForSequenceClassification.__name__ in (config.get("architectures") or [])
    if not is_classifier or config.get("problem_type") != problem_type or not config.get("id2label"):
        return None
    return [name for _, name in sorted((int(index), name) for index, name in config["id2label"].items())]


def count_truncated(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, model: AsteriskForSequenceClassification
) -> int:
    """How many texts have more tokens than the model takes."""
    longest = _longest(tokenizer, model)
    encoded = tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False)
    return sum(len(ids) > longest for ids in encoded["input_ids"])


def _longest(tokenizer: PreTrainedTokenizerFast, model: AsteriskForSequenceClassification) -> int:
    positions = model.config.max_position_embeddings if model.config.position_encoding == "learned" else 1_000_000
    return min(tokenizer.model_max_length, positions)


class EmbeddedRows(Dataset):
    """Embeddings and labels, handed out a batch at a time."""

    def __init__(self, embeddings: torch.Tensor, labels: torch.Tensor):
        self.embeddings, self.labels = embeddings, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """The batch of these rows; what PyTorch's data loader looks for."""
        return {"sentence_embeddings": self.embeddings[rows], "labels": self.labels[rows]}


class TokenizedRows(Dataset):
    """Token ids and labels, handed out a padded batch at a time."""

    def __init__(self, token_ids: list[list[int]], labels: torch.Tensor):
        self.token_ids, self.labels = token_ids, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        # The Trainer's sampler reads lengths from it.
        return {"input_ids": self.token_ids[row]}

    def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """The batch of these rows; what PyTorch's data loader looks for."""
        ids = [self.token_ids[row] for row in rows]
        longest = max(1, max(len(own) for own in ids))
        lengths = torch.tensor([len(own) for own in ids])
        return {
            "input_ids": torch.tensor([own + [0] * (longest - len(own)) for own in ids]),
            "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
            "labels": self.labels[rows],
        }


class HeadOnEmbeddings(nn.Module):
    """The head alone, as the Trainer sees it: neither moved nor saved with the backbone."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, sentence_embeddings: torch.Tensor) -> SequenceClassifierOutput:
        """Logits of (batch, projection_dim) embeddings."""
        return SequenceClassifierOutput(logits=self.classifier(sentence_embeddings))


class HeadTrainer(Trainer):
    """A Trainer that is told its loss."""

    # It is a mean over the batch.
    loss_is_scaled_for_ga = False

    def __init__(self, loss: Callable[..., torch.Tensor], **arguments: Any):
        super().__init__(**arguments)
        self.loss = loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """See [`Trainer`]."""
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = self.loss(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


class Progress(TrainerCallback):
    """A bar on a terminal, a line now and then in a log."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Shows the bar."""
        self.bar = progress_bar("Training", "steps", total=state.max_steps, initial=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One further."""
        self.bar.update(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Removes it."""
        self.bar.close()


def make_loss(problem_type: str, labels: torch.Tensor, is_weighted: bool) -> Callable[..., torch.Tensor]:
    """The loss of logits and labels, a mean over the batch: cross-entropy, binary cross-entropy or squared error.

    Args:
        problem_type: As in [`asterisk.labelled_data`].
        labels: Of training, as `label_array` gives them.
        is_weighted: Weigh classes inversely to their frequency, so that each counts alike.
    """
    if problem_type == REGRESSION:
        return mse_loss
    if problem_type == SINGLE:
        counts = torch.bincount(labels)
        weights = len(labels) / (len(counts) * counts.clamp(min=1)) if is_weighted else None
        return partial(_weighted_cross_entropy, weights=weights)
    present = labels.sum(dim=0).clamp(min=1)
    weights = (len(labels) - present).clamp(min=1) / present if is_weighted else None
    return partial(_weighted_binary_cross_entropy, weights=weights)


def _weighted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    own = None
    if weights is not None:  # draws need not hold the last classes, of which nothing is then known
        own = nn.functional.pad(weights, (0, logits.shape[1] - len(weights)), value=1.0).to(logits)
    return cross_entropy(logits, labels, weight=own)


def _weighted_binary_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    return binary_cross_entropy_with_logits(
        logits, labels, pos_weight=None if weights is None else weights.to(logits.device)
    )


def parameter_groups(
    model: AsteriskForSequenceClassification, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's groups: the head and what is above the layers learn at the full rate, each lower layer at a share of it.

    Args:
        model: What learns.
        learning_rate: At the top.
        layer_decay: The share, of the rate of the layer above; the tables are below the first layer.
        weight_decay: Of matrices; tables, biases and norms have none.
    """
    layers: int = model.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        parts = name.split(".")
        is_table = parts[:2] == ["asterisk", "embeddings"]
        depth = layers + 1 if is_table else layers - int(parts[2]) if parts[1] == "layers" else 0
        groups.setdefault((depth, weight.dim() > 1 and not is_table), []).append(weight)
    return [
        {
            "params": weights,
            "lr": learning_rate * layer_decay**depth,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (depth, decays), weights in groups.items()
    ]


class HeadTraining:
    """All repeats of a training, in a folder from which it is resumed."""

    def __init__(self, spec: str, data: HeadData, arguments: HeadArguments, folder: Path):
        """Loads the model, to say what is wrong with it.

        Args:
            spec: The model to train.
            data: What it is trained on.
            arguments: As [`resolve_arguments`] gives them.
            folder: Of the run.

        Raises:
            UserError: The model cannot be loaded, or samples are to be drawn of numbers.
        """
        self.spec, self.data, self.arguments, self.folder = spec, data, arguments, folder / TRAINING
        self.model, self.tokenizer, _ = self._load()
        # A model that is trained further keeps its classes' order.
        own_names: Any = self.model.config.id2label
        self.names = [own_names[index] for index in range(len(data.names))]
        self.draws = [self._draw(repeat) for repeat in range(arguments.repeats)]
        self.vectors: np.ndarray | None = None
        self.row_of: dict[str, int] = {}

    def _load(self) -> tuple[AsteriskForSequenceClassification, PreTrainedTokenizerFast, bool]:
        return load_classifier(self.spec, self.data.names, self.data.problem_type)

    def _draw(self, repeat: int) -> LabelledTexts:
        few = self.arguments.samples_per_label
        return self.data.train if few is None else draw(self.data.train, few, self.arguments.seed + repeat)

    def truncated(self, data: LabelledTexts) -> float:
        """The share of texts that are longer than the model takes."""
        return count_truncated(data.texts, self.tokenizer, self.model) / len(data)

    def run(self, on_repeat: Callable[[Repeat], None]) -> list[Repeat]:
        """Trains what is not trained yet. The best on development, or else the first, is in `best_folder`.

        Args:
            on_repeat: Called after each training.

        Raises:
            UserError: An embedding or a loss is not finite.
        """
        make_folder(self.folder)
        record = self.folder / REPEATS
        done = [Repeat(**entry) for entry in read_json(record)] if record.exists() else []
        for repeat in range(len(done), self.arguments.repeats):
            own_folder = self.folder / f"repeat-{repeat}"
            model, line = self._train(repeat, own_folder)
            if not done or _rank(line) > max(map(_rank, done)):
                save_student(model, self.tokenizer, self.best_folder)
            done.append(line)
            write_json(record, [dataclasses.asdict(entry) for entry in done])
            shutil.rmtree(own_folder, ignore_errors=True)
            on_repeat(line)
        return done

    @property
    def best_folder(self) -> Path:
        """Where the best model is."""
        return self.folder / BEST

    def predict(self, model: AsteriskForSequenceClassification, data: LabelledTexts) -> np.ndarray:
        """Logits (texts, classes), float32; of a regression the numbers themselves."""
        if self.vectors is not None:
            embeddings = self.vectors[[self.row_of[text] for text in data.texts]]
        else:
            embeddings = model.asterisk.encode(data.texts, tokenizer=self.tokenizer)
        model.eval()
        with torch.inference_mode():
            logits = model.classifier(torch.from_numpy(embeddings).to(model.classifier.dense.weight.device))
        return logits.float().cpu().numpy()

    def _train(self, repeat: int, folder: Path) -> tuple[AsteriskForSequenceClassification, Repeat]:
        """Trains once, on from the last checkpoint in the folder."""
        start = time.perf_counter()
        seed = self.arguments.seed + repeat
        set_seed(seed)
        model, _, keeps_head = self._load()
        train, development = self.draws[repeat], self.data.development
        labels = label_array(train, self.names)
        mean, scale = (labels.mean(), labels.std()) if self.data.problem_type == REGRESSION else (0.0, 1.0)
        if keeps_head:
            shift_outputs(model.classifier, -mean / scale, 1 / scale)
        model.to(this_process().device)  # type: ignore[arg-type]
        if self.arguments.mode == "frozen":
            self._embed(model)
        parts = {
            name: self._rows(part, (label_array(part, self.names) - mean) / scale if scale != 1 else None)
            for name, part in (("train", train), ("development", development))
            if part is not None
        }
        trainer = self._trainer(model, parts["train"], parts.get("development"), folder, seed)
        trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
        losses = [float(entry["eval_loss"]) for entry in trainer.state.log_history if "eval_loss" in entry]
        if not all(torch.isfinite(weight).all() for weight in model.parameters()):
            raise UserError("Training broke off at weights that are not finite; give a lower --learning_rate.")
        if self.arguments.mode == "lora":
            adapted: Any = trainer.model
            model = adapted.merge_and_unload()
        shift_outputs(model.classifier, mean, scale)
        line = Repeat(
            seed=seed,
            texts=len(train),
            passes=round(trainer.state.epoch or 0, 2),
            seconds=time.perf_counter() - start,
            losses=losses,
            development=self._score(model, development),
            test=self._score(model, self.data.test),
        )
        return model, line

    def _score(self, model: AsteriskForSequenceClassification, data: LabelledTexts | None) -> Scores | None:
        if data is None:
            return None
        return score(self.predict(model, data), label_array(data, self.names), data.problem_type)

    def _embed(self, model: AsteriskForSequenceClassification) -> None:
        """Embeds every text that any repeat needs, once."""
        if self.vectors is not None:
            return
        parts = [*self.draws, self.data.development, self.data.test]
        distinct = list(dict.fromkeys(text for part in parts if part for text in part.texts))
        cache = self.folder / EMBEDDINGS
        if cache.exists():
            self.vectors = np.load(cache)
        else:
            self.vectors = model.asterisk.encode(distinct, tokenizer=self.tokenizer)
            with appearing(cache) as temporary, temporary.open("wb") as file:
                np.save(file, self.vectors)
        self.row_of = {text: row for row, text in enumerate(distinct)}
        finite = np.isfinite(self.vectors).all(axis=1)
        if not finite.all():
            text = distinct[int(np.flatnonzero(~finite)[0])]
            raise UserError(f"{self.spec} gives a vector that is not finite for the text {text[:60]!r}.")

    def _rows(self, data: LabelledTexts, scaled: np.ndarray | None) -> EmbeddedRows | TokenizedRows:
        labels = torch.from_numpy(label_array(data, self.names) if scaled is None else scaled)
        if self.vectors is not None:
            return EmbeddedRows(torch.from_numpy(self.vectors[[self.row_of[text] for text in data.texts]]), labels)
        limit = {"truncation": True, "max_length": _longest(self.tokenizer, self.model)}
        encoded = self.tokenizer(data.texts, return_attention_mask=False, return_token_type_ids=False, **limit)
        return TokenizedRows(encoded["input_ids"], labels)

    def _trainer(
        self,
        model: AsteriskForSequenceClassification,
        train: EmbeddedRows | TokenizedRows,
        development: EmbeddedRows | TokenizedRows | None,
        folder: Path,
        seed: int,
    ) -> Trainer:
        own: Any = self.arguments  # of which, once resolved, only samples_per_label may be None
        trained: nn.Module = model
        optimizer = None
        if own.mode == "frozen":
            trained = HeadOnEmbeddings(model.classifier)
        elif own.mode == "lora":
            trained = with_adapters(model, own.lora_rank)
        else:
            optimizer = torch.optim.AdamW(
                parameter_groups(model, own.learning_rate, own.layer_decay, own.weight_decay)
            )
        has_development = development is not None
        settings = TrainingArguments(
            output_dir=str(folder),
            learning_rate=own.learning_rate,
            num_train_epochs=own.num_epochs,
            per_device_train_batch_size=own.batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH_SIZE,
            warmup_steps=own.warmup_ratio,
            weight_decay=own.weight_decay,
            seed=seed,
            eval_strategy="epoch" if has_development else "no",
            save_strategy="epoch",
            save_total_limit=1,
            load_best_model_at_end=has_development,
            metric_for_best_model="loss" if has_development else None,
            greater_is_better=False if has_development else None,
            restore_callback_states_from_checkpoint=True,
            train_sampling_strategy="random" if own.mode == "frozen" else "group_by_length",
            label_names=["labels"],
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = HeadTrainer(
            make_loss(self.data.problem_type, train.labels, own.class_weights),
            model=trained,
            args=settings,
            train_dataset=train,
            eval_dataset=development,
            data_collator=lambda batch: batch,
            callbacks=[Progress(), *([EarlyStoppingCallback(own.patience)] if has_development else [])],
            optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


def with_adapters(model: AsteriskForSequenceClassification, rank: int) -> nn.Module:
    """The model with LoRA adapters; of the rest only the head learns.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UserError("--mode lora needs the peft package: pip install peft.") from None
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.05,
        target_modules=[*LORA_TARGETS],
        modules_to_save=[HEAD],
    )
    with warnings.catch_warnings():
        # peft asks for an attribute that transformers calls by another name now.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


@torch.no_grad()
def shift_outputs(head: nn.Module, shift: float, scale: float) -> None:
    """Makes a head give `scale` times its outputs, plus `shift`."""
    head.out_proj.weight.mul_(float(scale))  # type: ignore[union-attr, operator]
    head.out_proj.bias.mul_(float(scale)).add_(float(shift))  # type: ignore[union-attr, operator]


def _last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint: its state is written last."""
    states = folder.glob("checkpoint-*/trainer_state.json")
    found = sorted((int(state.parent.name.rpartition("-")[2]), str(state.parent)) for state in states)
    return found[-1][1] if found else None


def best_repeat(repeats: Sequence[Repeat]) -> int:
    """Which repeat is the best on development; the first of those that are alike."""
    return max(range(len(repeats)), key=lambda index: (_rank(repeats[index]), -index))


def _rank(repeat: Repeat) -> tuple[float, float]:
    """The higher the better: the first score on development, then its loss; all are alike without development."""
    if repeat.development is None:
        return 0.0, 0.0
    first = next(iter(repeat.development.values()))
    return float("-inf") if first is None else first, -min(repeat.losses)
