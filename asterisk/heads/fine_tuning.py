"""Fine-tuning of a backbone with its head, by transformers' Trainer: low-rank adapters, or everything.

lora: low-rank adapters beside the backbone's matrices learn (Hu et al. 2021, arXiv:2106.09685), and are merged into
them at the end. full: everything learns, the lower the layer the slower (Howard & Ruder 2018, arXiv:1801.06146).
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from asterisk.core.checksums import CHECKSUMS, verify_checksums, write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import remove_folder, report_write_errors
from asterisk.core.progress import progress_bar
from asterisk.data.labels import REGRESSION
from asterisk.heads.adapters import adapters_folder, with_adapters
from asterisk.heads.arguments import HeadSettings
from asterisk.heads.calibration import fit_temperature
from asterisk.heads.losses import Loss
from asterisk.heads.token_rows import TokenizedRows, narrowed_table
from modeling_asterisk import AsteriskForSequenceClassification

# What reading a checkpoint raises. The Trainer, too, reads its pickles with torch's restricted reader.
DAMAGED = (torch.serialization.pickle.UnpicklingError, SafetensorError)

EVALUATION_BATCH_SIZE = 256
# Of the weights' average over the steps; of the first steps less is kept, since they are far from where it ends.
AVERAGE_DECAY = 0.99
AVERAGE = "average"
CALIBRATED = "calibrated_loss"


class HeadTrainer(Trainer):
    """A Trainer that is told its loss, and of whose layers the lower learn slower.

    With a `perturbation` the loss is the mean of two: of the texts, and of the same with their token vectors moved so
    far, each text's together, in the direction in which its loss rises fastest (Miyato et al. 2017, arXiv:1605.07725).
    """

    # It is a mean over the batch.
    loss_is_scaled_for_ga = False

    def __init__(self, loss: Loss, layer_decay: float | None, perturbation: float, **arguments: Any):
        super().__init__(**arguments)
        self.loss, self.layer_decay, self.perturbation = loss, layer_decay, perturbation

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """See [`Trainer`]."""
        labels = inputs.pop("labels")
        perturbed = model.training and self.perturbation > 0
        if perturbed:
            own: Any = self.model
            vectors = own.get_input_embeddings()(inputs.pop("input_ids"))
            inputs["inputs_embeds"] = vectors
        outputs = model(**inputs)
        loss = self.loss(outputs.logits, labels)
        if perturbed:
            (gradient,) = torch.autograd.grad(loss, vectors, retain_graph=True)
            norms = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
            moved = vectors + self.perturbation * gradient / norms[:, None, None]
            loss = (loss + self.loss(model(**{**inputs, "inputs_embeds": moved}).logits, labels)) / 2
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        """See [`Trainer`]."""
        if self.layer_decay is not None and self.optimizer is None:
            model: Any = self.model
            groups = parameter_groups(model, self.args.learning_rate, self.layer_decay, self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return super().create_optimizer(*arguments)


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


class Averaging(TrainerCallback):
    """Averages the weights over the steps: what is evaluated, saved and kept is the average (Polyak & Juditsky 1992).

    At the learning rate with which a tiny backbone learns fastest, the last step's weights are far from the middle of
    those around it. The average is part of the optimizer's state, so that a checkpoint holds it: while steps are made
    the model has the weights and the optimizer their average; between passes it is the other way round.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The steps go on from the weights. Before the first there is no average yet."""
        self._exchange(kwargs["optimizer"])

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Takes in the step's weights."""
        decay = min(AVERAGE_DECAY, state.global_step / (state.global_step + 9))
        for weight, own in kwargs["optimizer"].state.items():
            if AVERAGE in own:
                own[AVERAGE].lerp_(weight, 1 - decay)
            else:
                own[AVERAGE] = weight.detach().clone()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called before what ends a pass: the evaluation and the checkpoint."""
        self._exchange(kwargs["optimizer"])

    @torch.no_grad()
    def _exchange(self, optimizer: torch.optim.Optimizer) -> None:
        for weight, own in optimizer.state.items():
            if AVERAGE in own:
                average = own[AVERAGE].clone()
                own[AVERAGE].copy_(weight)
                weight.copy_(average)


class Checkpoints(TrainerCallback):
    """Says of each checkpoint when it is whole, and removes those that are needed no more.

    The Trainer itself does the latter by the files' times, which may go backwards, and leaves half of one when it is
    killed.
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called when a checkpoint is written."""
        folder = Path(str(args.output_dir))
        write_checksums(folder / f"checkpoint-{state.global_step}")
        for step, checkpoint in _checkpoints(folder).items():
            if step not in (state.global_step, state.best_global_step):
                remove_folder(checkpoint)


class EarlyStopping(EarlyStoppingCallback):
    """Early stopping that begins anew with each trial of a search."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """See [`EarlyStoppingCallback`]."""
        super().on_train_begin(args, state, control, **kwargs)
        if state.global_step == 0:
            self.early_stopping_patience_counter = 0


def calibrated_loss(loss: Loss, problem_type: str) -> Callable[[EvalPrediction], dict[str, float]]:
    """What development is judged by: the loss at the temperature at which it is lowest.

    A temperature is fitted after the training anyhow (Guo et al. 2017, arXiv:1706.04599), and a model that is tuned
    becomes too sure of itself long before it stops becoming better.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        if problem_type != REGRESSION:
            logits = logits / fit_temperature(logits, labels, problem_type)
        return {CALIBRATED: loss(torch.from_numpy(logits), torch.from_numpy(labels)).item()}

    return compute


def make_trainer(
    model: nn.Module | None,
    train: TokenizedRows,
    development: TokenizedRows | None,
    loss: Loss,
    problem_type: str,
    arguments: HeadSettings,
    folder: Path,
    seed: int,
    is_trial: bool = False,
    **options: Any,
) -> HeadTrainer:
    """A Trainer that stops when the [`calibrated_loss`] has stopped falling, and keeps the weights of its lowest.

    The weights are those of [`Averaging`].

    Args:
        model: A classifier, for lora [`with_adapters`]; None if `options` say how each trial of a search makes it.
        train: What it learns from.
        development: What says when to stop, if anything does.
        loss: Of logits and labels, a mean.
        problem_type: As in [`asterisk.data.labels`].
        arguments: As `resolve_arguments` gives them.
        folder: Where the checkpoints go.
        seed: Of the order and the dropout.
        is_trial: Whether it only says how good settings are, and keeps no weights.
        options: Further ones of the Trainer.
    """
    has_development = development is not None
    stopping = [EarlyStopping(arguments.patience)] if has_development else []
    settings = TrainingArguments(
        output_dir=str(folder),
        learning_rate=arguments.learning_rate,
        num_train_epochs=arguments.num_epochs,
        per_device_train_batch_size=arguments.batch_size,
        per_device_eval_batch_size=EVALUATION_BATCH_SIZE,
        warmup_steps=arguments.warmup_ratio,
        weight_decay=arguments.weight_decay,
        seed=seed,
        eval_strategy="epoch" if has_development else "no",
        save_strategy="no" if is_trial else "epoch",
        load_best_model_at_end=has_development and not is_trial,
        metric_for_best_model=CALIBRATED if has_development else None,
        greater_is_better=False if has_development else None,
        restore_callback_states_from_checkpoint=True,
        train_sampling_strategy="group_by_length",
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = HeadTrainer(
        loss,
        layer_decay=arguments.layer_decay if arguments.mode == "full" else None,
        perturbation=arguments.perturbation if arguments.mode == "full" else 0.0,
        model=model,
        args=settings,
        train_dataset=train,
        eval_dataset=development,
        compute_metrics=calibrated_loss(loss, problem_type),
        data_collator=lambda batch: batch,
        callbacks=[Progress(), Averaging(), Checkpoints(), *stopping],
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def fine_tune(
    model: AsteriskForSequenceClassification,
    train: TokenizedRows,
    development: TokenizedRows | None,
    loss: Loss,
    problem_type: str,
    arguments: HeadSettings,
    folder: Path,
    seed: int,
) -> tuple[AsteriskForSequenceClassification, list[float], float]:
    """Trains, on from the last checkpoint in the folder; see [`make_trainer`].

    Returns:
        The trained model, the [`calibrated_loss`] of development after each pass, and the number of passes.

    Raises:
        UserError: The weights are not finite any more, peft is not installed, a checkpoint is damaged, or the disk is
            full.
    """
    is_lora = arguments.mode == "lora"
    trained = with_adapters(model, arguments.lora_rank) if is_lora else model
    last = last_checkpoint(folder)
    # Adapters leave the table as it is.
    parts: Any = nullcontext((train, development)) if is_lora else narrowed_table(model, train, development)
    with parts as (own, other):
        trainer = make_trainer(trained, own, other, loss, problem_type, arguments, folder, seed)
        try:
            with report_write_errors(folder):
                trainer.train(resume_from_checkpoint=last)
        except DAMAGED as error:
            raise UserError(f"The checkpoint {last} is damaged; delete it, and run the command again.") from error
    name = f"eval_{CALIBRATED}"
    losses = [float(entry[name]) for entry in trainer.state.log_history if name in entry]
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise UserError("Training broke off at weights that are not finite; give a lower --learning_rate.")
    if is_lora:
        adapted: Any = trainer.model
        if arguments.keep_adapters:
            adapted.save_pretrained(adapters_folder(folder))
        model = adapted.merge_and_unload()
    return model, losses, trainer.state.epoch or 0


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


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint of a training that was stopped; one that was being written then is removed.

    Raises:
        UserError: A checkpoint was damaged since.
    """
    for checkpoint in _checkpoints(folder).values():
        if (checkpoint / CHECKSUMS).exists():
            verify_checksums(checkpoint, f"delete {folder} and run the command again")
        else:
            remove_folder(checkpoint)
    found = _checkpoints(folder)
    return str(found[max(found)]) if found else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder, whole or not, by their step."""
    return {int(each.name.rpartition("-")[2]): each for each in folder.glob("checkpoint-*")}
