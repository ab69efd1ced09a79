"""The distillation loop, based on Accelerate: it trains a student on a store's sentences and teacher vectors."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import get_cosine_schedule_with_warmup

from asterisk.core.errors import UserError
from asterisk.core.processes import this_process
from asterisk.core.progress import progress_bar
from asterisk.distillation.arguments import LoopArguments, check_arguments
from asterisk.distillation.batch_loss import BatchLoss
from asterisk.distillation.batching import batches_from, sorted_parts, split_rows
from asterisk.distillation.checkpoints import Checkpoints, Progress, recorded_precision
from asterisk.distillation.curves import Point, append_point, describe_point, read_curves, write_curves
from asterisk.distillation.label_tasks import LabelledCorpus
from asterisk.distillation.optimizers import clip_gradients, make_optimizers, make_table_sparse
from asterisk.distillation.pairs import Pairs, ScoredPairs
from asterisk.distillation.projection import (
    fit_projection,
    fit_static_exit,
    projection_to_student,
    stored_projection,
    stretch_between_groups,
)
from asterisk.models.precision import resolve_mixed_precision
from asterisk.teachers.store import EmbeddingStore, JoinedStore
from asterisk.teachers.token_store import TokenStore

# Steps between checks of the loss. Each check stalls a GPU.
CHECK_STEPS = 20
# Steps between releases of mapped memory: the system maps 64 kB for every row read.
RELEASE_STEPS = 4

OnBest = Callable[[Any], None]
OnStep = Callable[[int], None]


class Distillation:
    """One run: a student that learns from text and a teacher's vectors, with checkpoints and curves in `folder`."""

    def __init__(
        self,
        student: Any,
        tokens: TokenStore,
        store: EmbeddingStore | JoinedStore | None,
        arguments: LoopArguments,
        folder: Path,
        pairs: Pairs | None = None,
        scored_pairs: ScoredPairs | None = None,
        labelled: LabelledCorpus | None = None,
        evaluate: Callable[[Any], dict[str, float]] | None = None,
        is_trained: bool = False,
        keep_projection: bool = False,
        new_exits: bool = False,
    ):
        """Prepare a run.

        Args:
            student: A module whose output for `input_ids` and `attention_mask` has a `pooler_output` of unit norm.
            tokens: The sentences, as the student's token ids.
            store: The teacher's vectors of the same rows; None trains by contrast alone, without a teacher.
            arguments: How to train.
            folder: The folder for checkpoints and curves.
            pairs: Labelled pairs for the contrast.
            scored_pairs: Scored pairs for the ranking.
            labelled: Labelled texts for the contrast between groups.
            evaluate: Called every `eval_steps`; returns a student's scores on development sets by name, the decisive
                one first.
            is_trained: Whether the student is already trained; if so, the projection of the teacher's vectors is
                aligned with the student's dimensions.
            keep_projection: Whether the student was trained with the same teachers, so that its stored projection
                remains valid.
            new_exits: Whether the student's exits are untrained; the exit at depth 0 then starts from a regression.

        Raises:
            UserError: An argument is out of range or does not fit the student, or there is too little text.
        """
        dimensions = student.config.embedding_size
        num_exits = len(getattr(student.config, "exit_layers", None) or ())
        check_arguments(arguments, dimensions, num_exits, has_teacher=store is not None)
        self.arguments, self.folder = arguments, folder
        self.tokens, self.store, self.evaluate = tokens, store, evaluate
        self.train_rows, self.heldout_rows = split_rows(len(tokens.lengths), arguments.heldout, arguments.seed)

        device = this_process().device
        self.sparse_table = make_table_sparse(student, arguments, device)
        # A resumed run keeps its precision on any machine.
        recorded = recorded_precision(folder / "checkpoints")
        longest = int(tokens.lengths.max())
        precision = resolve_mixed_precision(arguments.mixed_precision, student, longest, recorded)
        log_with = arguments.log_with or None
        self.accelerator = Accelerator(mixed_precision=precision, log_with=log_with, project_dir=folder)

        processes, accumulation = self.accelerator.num_processes, arguments.gradient_accumulation_steps
        self.batch_size = arguments.batch_size * processes * accumulation
        self.steps_per_epoch = len(self.train_rows) // self.batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"There are only {len(self.train_rows)} sentences to train on, fewer than one batch of "
                f"{self.batch_size}; give more text or a smaller --batch_size."
            )
        self.num_steps = arguments.max_steps or max(1, math.ceil(self.steps_per_epoch * arguments.num_epochs))

        self.projection = None
        if store is not None:
            stored = stored_projection(student) if keep_projection else None
            if stored is not None:
                projection = stored
            elif is_trained:
                projection = projection_to_student(student, tokens, store, self.train_rows, arguments.seed)
            else:
                projection = fit_projection(store, dimensions, self.train_rows, arguments.seed)
            if labelled is not None:
                projection = stretch_between_groups(projection, store, labelled)
            if new_exits and 0 in (student.config.exit_layers or ()):
                fit_static_exit(student, tokens, store, projection, self.train_rows, arguments.seed)
            self.projection = torch.from_numpy(projection).to(device)

        if device.type == "cpu":
            # On short sentences, plain matrix products train a quarter faster than PyTorch's fused kernel.
            student.set_attn_implementation("eager")
        optimizers = make_optimizers(student, self.sparse_table, arguments, precision)
        # Every process advances the schedules once per step, so they count the run's steps.
        warmup = math.ceil(self.num_steps * arguments.warmup_ratio)
        self.schedules = [
            get_cosine_schedule_with_warmup(optimizer, warmup, self.num_steps) for optimizer in optimizers
        ]
        if arguments.torch_compile:
            student.compile(dynamic=True)
        # The schedules are not prepared: Accelerate would unpickle their checkpoints without restriction.
        self.model, *self.optimizers = self.accelerator.prepare(student, *optimizers)

        self.loss = BatchLoss(
            self.accelerator,
            self.model,
            tokens,
            store,
            self.projection,
            arguments,
            pairs,
            scored_pairs,
            labelled,
        )
        self.checkpoints = Checkpoints(folder / "checkpoints", self.accelerator, arguments.average_checkpoints)
        self.progress = Progress()

    @property
    def student(self) -> Any:
        """The student with its current weights."""
        return self.accelerator.unwrap_model(self.model)

    def train(self, on_best: OnBest | None = None, on_step: OnStep | None = None) -> bool:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            on_best: Called with the student whenever the decisive score reaches a new maximum.
            on_step: Called after each step, before measuring and saving, with the number of finished steps.

        Returns:
            Whether any step was left to train.

        Raises:
            UserError: The loss is not finite, or a checkpoint is damaged.
        """
        arguments, accelerator = self.arguments, self.accelerator
        progress = self.progress = self._resume()
        first_step = progress.step
        if arguments.log_with:
            accelerator.init_trackers("asterisk")
        is_main = accelerator.is_main_process
        bar = progress_bar("Distilling", "steps", self.num_steps, first_step, shown=is_main)
        postfix: dict[str, str] = {}
        # The losses since the last measurement.
        losses: list[torch.Tensor] = []
        started = time.perf_counter() - progress.seconds
        window_started = time.perf_counter()
        batches = batches_from(first_step, self.tokens.lengths, self.train_rows, self.batch_size, arguments.seed)
        for rows in islice(batches, self.num_steps - first_step):
            losses.append(self._step(rows[accelerator.process_index :: accelerator.num_processes]))
            progress.step += 1
            bar.update()
            if on_step:
                on_step(progress.step)
            if progress.step % RELEASE_STEPS == 0:
                self._release_memory()

            is_last = progress.step == self.num_steps
            # The first step is where the curves begin.
            should_measure = progress.step == 1 or progress.step % arguments.eval_steps == 0 or is_last
            should_save = progress.step % arguments.checkpoint_steps == 0 or is_last
            if progress.step % CHECK_STEPS == 0 or should_measure or should_save:
                self._refuse_nonfinite(losses[-CHECK_STEPS:])
                speed = len(losses) * self.batch_size / (time.perf_counter() - window_started)
                postfix |= {"loss": f"{losses[-1]:.4f}", "speed": f"{speed:,.0f} sentences/s"}
            if should_measure:
                progress.seconds = time.perf_counter() - started
                point = self._measure(torch.stack(losses).mean(), speed, on_best)
                postfix |= {name: f"{value:.4f}" for name, value in point["scores"].items()}
                if is_main:
                    self._log(point)
                    bar.write(describe_point(point, self.num_steps))
                losses, window_started = [], time.perf_counter()
            bar.set_postfix(postfix, refresh=False)
            if should_save:
                progress.seconds = time.perf_counter() - started
                self.checkpoints.save(progress)
        bar.close()
        if arguments.average_checkpoints > 1:
            self.student.load_state_dict(self.checkpoints.average())
        if arguments.log_with:
            accelerator.end_training()
        return progress.step > first_step

    def _resume(self) -> Progress:
        progress = self.checkpoints.resume()
        for schedule in self.schedules:
            schedule.last_epoch = progress.step
        if self.accelerator.is_main_process:
            # Drop the points after the checkpoint, because their steps run again.
            curves = self.folder / "curves.jsonl"
            write_curves([point for point in read_curves(curves) if point["step"] <= progress.step], curves)
        return progress

    def _step(self, rows: np.ndarray) -> torch.Tensor:
        """Take one optimizer step on this process's rows, and return the loss."""
        self.model.train()
        accelerator, accumulation = self.accelerator, self.arguments.gradient_accumulation_steps
        first_turn = (self.progress.step * accelerator.num_processes + accelerator.process_index) * accumulation
        parts = [
            (part, first_turn + index)
            for index, batch in enumerate(np.array_split(rows, accumulation))
            for part in self.loss.split(batch)
        ]
        losses = []
        for index, (part, turn) in enumerate(parts):
            # The processes exchange gradients once per step, in the last backward pass.
            with accelerator.no_sync(self.model) if index < len(parts) - 1 else nullcontext():
                loss = self.loss(part, turn) * (len(part) / len(rows))
                accelerator.backward(loss)
            losses.append(loss.detach())
        clip_gradients(accelerator, self.model, self.sparse_table, self.arguments.max_grad_norm)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        return torch.stack(losses).sum()

    def _release_memory(self) -> None:
        self.tokens.release()
        if self.store is not None:
            self.store.release()

    def _refuse_nonfinite(self, losses: list[torch.Tensor]) -> None:
        broken = torch.nonzero(~torch.isfinite(torch.stack(losses))).flatten()
        if len(broken):
            step = self.progress.step - len(losses) + int(broken[0])
            epoch, index = divmod(step, self.steps_per_epoch)
            batch = next(
                batches_from(step, self.tokens.lengths, self.train_rows, self.batch_size, self.arguments.seed)
            )
            rows = ", ".join(map(str, batch[:3]))
            raise UserError(
                f"The loss is not finite at step {step:,} (batch {index:,} of epoch {epoch}: rows {rows}, ... of the "
                f"store); lower --learning_rate ({self.arguments.learning_rate}) and continue from the checkpoint in "
                f"{self.checkpoints.folder} with --resume."
            )

    def _measure(self, loss: torch.Tensor, speed: float, on_best: OnBest | None) -> Point:
        scores: dict[str, float] = {}
        if self.evaluate is not None:
            scores |= self.evaluate(self.student)
        if self.store is not None:
            scores["agreement"] = self.agreement()
        if scores and (decisive := next(iter(scores.values()))) > self.progress.best:
            self.progress.best = decisive
            if on_best is not None and self.accelerator.is_main_process:
                on_best(self.student)
        return {
            "step": self.progress.step,
            "loss": self.accelerator.reduce(loss, "mean").item(),
            "scores": scores,
            "learning_rate": self.schedules[0].get_last_lr()[0],
            "sentences_per_second": speed,
            "seconds": self.progress.seconds,
        }

    @torch.inference_mode()
    def agreement(self) -> float:
        """Return the mean cosine between student and projected teacher on the held-out sentences."""
        student = self.student.eval()
        total = 0.0
        for rows in sorted_parts(self.tokens.lengths, self.heldout_rows):
            _, target = self.loss.teacher_vectors(rows)
            ids, mask = (torch.from_numpy(array).to(target.device) for array in self.tokens.padded(rows))
            with self.accelerator.autocast():
                embedding = student(input_ids=ids, attention_mask=mask).pooler_output.float()
            total += torch.nn.functional.cosine_similarity(embedding, target, dim=-1).sum().item()
        return total / len(self.heldout_rows)

    def _log(self, point: Point) -> None:
        append_point(point, self.folder / "curves.jsonl")
        if self.arguments.log_with:
            numbers = {name: value for name, value in point.items() if isinstance(value, float)}
            self.accelerator.log({**numbers, **point["scores"]}, step=point["step"])
