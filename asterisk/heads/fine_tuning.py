"""Fine-tuning of the backbone and the head with transformers' Trainer.

Mode lora trains low-rank adapters beside the backbone's matrices (Hu et al. 2021, arXiv:2106.09685) and merges them at
the end. Mode full trains all weights, with lower learning rates for lower layers (Howard & Ruder 2018,
arXiv:1801.06146).
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainerCallback,
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
from asterisk.heads.frozen import check_finite
from asterisk.heads.losses import Loss
from asterisk.heads.token_rows import TokenizedRows, narrowed_table
from asterisk.models.parameter_groups import parameter_groups
from modeling_asterisk import AsteriskForSequenceClassification

# The errors that a damaged checkpoint raises. The Trainer reads pickles with torch's restricted reader.
DAMAGED = (torch.serialization.pickle.UnpicklingError, SafetensorError)

EVALUATION_BATCH_SIZE = 256
# Decay of the average over the steps. It starts lower, because early weights are far from the final ones.
AVERAGE_DECAY = 0.99
AVERAGE = "average"
CALIBRATED = "calibrated_loss"


class HeadTrainer(Trainer):
    """A Trainer with early stopping that keeps the [`Averaging`] weights with the lowest [`calibrated_loss`].

    Mode full uses layer-wise learning rates and adversarial training: the loss is the mean of the loss on the texts
    and the loss on the same texts with shifted token vectors. The shift has the norm `settings.perturbation` and the
    direction in which the text's loss increases fastest (Miyato et al. 2017, arXiv:1605.07725).
    """

    # The loss is a mean over the batch.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: AsteriskForSequenceClassification,
        train: TokenizedRows,
        development: TokenizedRows | None,
        loss: Loss,
        problem_type: str,
        settings: HeadSettings,
        folder: Path,
        seed: int,
    ):
        """Set up the training of a model.

        Args:
            model: The model; it is trained in place.
            train: The training texts.
            development: The development texts; without them, there is no early stopping.
            loss: The mean loss of logits and labels.
            problem_type: One of the types in [`asterisk.data.labels`].
            settings: The arguments of the training.
            folder: The folder of the checkpoints.
            seed: Determines the order of the texts and the dropout.
        """
        self.loss, self.settings, self.classifier = loss, settings, model
        self.perturbation = settings.perturbation if settings.mode == "full" else 0.0
        has_development = development is not None
        arguments = TrainingArguments(
            output_dir=str(folder),
            learning_rate=settings.learning_rate,
            num_train_epochs=settings.num_epochs,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH_SIZE,
            warmup_steps=settings.warmup_ratio,
            weight_decay=settings.weight_decay,
            seed=seed,
            eval_strategy="epoch" if has_development else "no",
            save_strategy="epoch",
            load_best_model_at_end=has_development,
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
        stopping = [EarlyStoppingCallback(settings.patience)] if has_development else []
        super().__init__(
            model=with_adapters(model, settings.lora_rank) if settings.mode == "lora" else model,  # type: ignore[arg-type]
            args=arguments,
            train_dataset=train,
            eval_dataset=development,
            compute_metrics=calibrated_loss(loss, problem_type),
            data_collator=lambda batch: batch,  # type: ignore[arg-type, return-value]
            callbacks=[Progress(), Averaging(), Checkpoints(), *stopping],
        )
        self.remove_callback(PrinterCallback)

    def fit(self) -> tuple[AsteriskForSequenceClassification, list[float], float]:
        """Train from the last checkpoint in the folder, or from the start.

        Returns:
            The trained model, the [`calibrated_loss`] of development after each pass, and the number of passes.

        Raises:
            UserError: A weight is not finite, a checkpoint is damaged, or the disk is full.
        """
        folder, is_lora = Path(str(self.args.output_dir)), self.settings.mode == "lora"
        checkpoint = last_checkpoint(folder)
        parts = self.train_dataset, self.eval_dataset
        # Adapters leave the token table unchanged.
        rows: Any = nullcontext(parts) if is_lora else narrowed_table(self.classifier, *parts)  # type: ignore[arg-type]
        with rows as (self.train_dataset, self.eval_dataset):
            try:
                with report_write_errors(folder):
                    self.train(resume_from_checkpoint=checkpoint)
            except DAMAGED as error:
                raise UserError(
                    f"The checkpoint {checkpoint} is damaged; delete it and run the command again."
                ) from error
        name = f"eval_{CALIBRATED}"
        losses = [float(entry[name]) for entry in self.state.log_history if name in entry]
        check_finite(self.classifier)
        model, adapted = self.classifier, cast(Any, self.model)
        if is_lora:
            if self.settings.keep_adapters:
                adapted.save_pretrained(adapters_folder(folder))
            model = adapted.merge_and_unload()
        return model, losses, self.state.epoch or 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """See [`Trainer`]."""
        labels = inputs.pop("labels")
        is_perturbed = model.training and self.perturbation > 0
        if is_perturbed:
            vectors = self.model.get_input_embeddings()(inputs.pop("input_ids"))  # type: ignore[union-attr, operator]
            inputs["inputs_embeds"] = vectors
        outputs = model(**inputs)
        loss = self.loss(outputs.logits, labels)
        if is_perturbed:
            (gradient,) = torch.autograd.grad(loss, vectors, retain_graph=True)
            norms = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
            shifted = vectors + self.perturbation * gradient / norms[:, None, None]
            loss = (loss + self.loss(model(**{**inputs, "inputs_embeds": shifted}).logits, labels)) / 2
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        """See [`Trainer`]."""
        if self.settings.mode == "full" and self.optimizer is None:
            rate, layer_decay, decay = self.args.learning_rate, self.settings.layer_decay, self.args.weight_decay
            groups = layered_groups(self.classifier, rate, layer_decay, decay)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return super().create_optimizer(*arguments)


class Progress(TrainerCallback):
    """A progress bar on a terminal, and occasional lines in a log."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **named: Any) -> None:
        """Show the bar."""
        self.bar = progress_bar("Training", "steps", total=state.max_steps, initial=state.global_step)

    def on_step_end(self, *_: Any, **named: Any) -> None:
        """Advance the bar."""
        self.bar.update(1)

    def on_train_end(self, *_: Any, **named: Any) -> None:
        """Remove the bar."""
        self.bar.close()


class Averaging(TrainerCallback):
    """Averages the weights over the steps, and evaluates, saves and keeps the average (Polyak & Juditsky 1992).

    At the learning rate at which a tiny backbone learns fastest, the last weights are far from the mean of the last
    steps' weights. The average is part of the optimizer's state, so checkpoints contain it. During a pass, the model
    holds the weights, and the optimizer their average; between passes, they are exchanged.
    """

    def on_epoch_begin(self, *_: Any, **named: Any) -> None:
        """Return to the weights of the last step; before the first pass there is no average yet."""
        self._exchange(named["optimizer"])

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **named: Any) -> None:
        """Add the step's weights to the average."""
        decay = min(AVERAGE_DECAY, state.global_step / (state.global_step + 9))
        for weight, entry in named["optimizer"].state.items():
            if AVERAGE in entry:
                entry[AVERAGE].lerp_(weight, 1 - decay)
            else:
                entry[AVERAGE] = weight.detach().clone()

    def on_epoch_end(self, *_: Any, **named: Any) -> None:
        """Put the average into the model, before the pass is evaluated and saved."""
        self._exchange(named["optimizer"])

    @torch.no_grad()
    def _exchange(self, optimizer: torch.optim.Optimizer) -> None:
        for weight, entry in optimizer.state.items():
            if AVERAGE in entry:
                average = entry[AVERAGE].clone()
                entry[AVERAGE].copy_(weight)
                weight.copy_(average)


class Checkpoints(TrainerCallback):
    """Writes checksums into each complete checkpoint, and removes checkpoints that are no longer needed.

    The Trainer's own removal relies on file times, which can go backwards. A killed process leaves an incomplete
    checkpoint.
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **named: Any) -> None:
        """Finish the checkpoint that was just written."""
        folder = Path(str(args.output_dir))
        write_checksums(folder / f"checkpoint-{state.global_step}")
        for step, checkpoint in _checkpoints(folder).items():
            if step not in (state.global_step, state.best_global_step):
                remove_folder(checkpoint)


def calibrated_loss(loss: Loss, problem_type: str) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the criterion of early stopping: the development loss at its best temperature.

    A temperature is fitted after training (Guo et al. 2017, arXiv:1706.04599), and a fine-tuned model becomes
    overconfident long before its decisions stop improving.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        if problem_type != REGRESSION:
            logits = logits / fit_temperature(logits, labels, problem_type)
        return {CALIBRATED: loss(torch.from_numpy(logits), torch.from_numpy(labels)).item()}

    return compute


def layered_groups(
    model: AsteriskForSequenceClassification, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups, with lower learning rates for lower layers.

    The head and everything else above the layers learn at `learning_rate`, and each layer at `layer_decay` times the
    rate of the layer above; the tables count as a layer below the first. Weight decay applies to matrices only, not to
    tables, biases and norms.
    """
    layers = model.config.num_hidden_layers
    weights_at: dict[int, list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        parts = name.split(".")
        depth = layers - int(parts[2]) if parts[1] == "layers" else layers + 1 if parts[1] == "embeddings" else 0
        weights_at.setdefault(depth, []).append(weight)
    groups = []
    for depth, weights in weights_at.items():
        decay = 0.0 if depth > layers else weight_decay
        groups += parameter_groups(weights, decay, lr=learning_rate * layer_decay**depth)
    return groups


def last_checkpoint(folder: Path) -> str | None:
    """Find the last complete checkpoint, and remove incomplete ones; raise a [`UserError`] if one is damaged."""
    for checkpoint in _checkpoints(folder).values():
        if (checkpoint / CHECKSUMS).exists():
            verify_checksums(checkpoint, f"delete {folder} and run the command again")
        else:
            remove_folder(checkpoint)
    complete = _checkpoints(folder)
    return str(complete[max(complete)]) if complete else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Map steps to checkpoint folders, complete or not."""
    return {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
