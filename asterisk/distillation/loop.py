"""The distillation loop, on Accelerate: a store's sentences and teacher vectors in, a trained student out."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tqdm.auto import tqdm
from transformers import get_cosine_schedule_with_warmup

from asterisk.core.checksums import CHECKSUMS, verify_checksums, write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import read_json, remove_folder, report_write_errors, write_json
from asterisk.core.vectors import orthogonal_map
from asterisk.distillation.arguments import LoopArguments, check_arguments
from asterisk.distillation.batching import length_batches, pair_batch, split_rows
from asterisk.distillation.curves import Point, read_curves, write_curves
from asterisk.distillation.muon import Muon
from asterisk.distillation.objectives import (
    contrastive_loss,
    cosine_loss,
    false_negatives,
    mse_loss,
    ranking_loss,
    similarity_loss,
    truncations,
)
from asterisk.distillation.projection import ALIGNMENT_ROWS, fit_projection
from asterisk.models.parameter_groups import parameter_groups
from asterisk.models.precision import resolve_mixed_precision
from asterisk.teachers.store import EmbeddingStore
from asterisk.teachers.token_store import TokenStore
from modeling_asterisk import AsteriskModel

# Steps between looks at the loss: each look makes a GPU wait.
LOOK_STEPS = 20
# Tokens, padding included, that go through the student at a time: 256 texts of 128. More of them are gone through in
# pieces, which gives the same gradient in less memory.
TOKENS_AT_A_TIME = 32_768
# Steps between releases of what was read: of every row at random, the system maps 64 kB.
RELEASE_STEPS = 4


@dataclass
class Pairs:
    """Labelled pairs, as rows of the store: what is close to what, and, if known, what is not."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray | None = None


@dataclass
class ScoredPairs:
    """Pairs of rows of the store, and how close people found them; pairs of two groups are not to be compared."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray
    groups: np.ndarray


class Distillation:
    """One run: a student learning from text and a teacher's vectors, its checkpoints and its curves in `folder`."""

    def __init__(
        self,
        student: Any,
        tokens: TokenStore,
        store: EmbeddingStore | None,
        arguments: LoopArguments,
        folder: Path,
        pairs: Pairs | None = None,
        scored: ScoredPairs | None = None,
        evaluate: Callable[[Any], dict[str, float]] | None = None,
        is_trained: bool = False,
    ):
        """Prepares a run.

        Args:
            student: A module whose output for `input_ids` and `attention_mask` has a `pooler_output` of unit norm.
            tokens: The sentences, as the student's token ids.
            store: The teacher's vectors of the same rows; None trains without a teacher, by contrast alone.
            arguments: How to train.
            folder: Where checkpoints and curves go.
            pairs: Labelled pairs for the contrast; None trains on single sentences.
            scored: Scored pairs for their order.
            evaluate: Scores of a student on development sets, by name, the decisive one first; called every
                `eval_steps`.
            is_trained: Whether the student has learnt from this teacher before, and keeps the meaning of its
                dimensions.

        Raises:
            UserError: An argument is out of range, does not fit what is given, or there is too little text.
        """
        check_arguments(arguments, student.config.projection_dim, store is not None)
        self.arguments, self.folder = arguments, folder
        self.tokens, self.store, self.evaluate = tokens, store, evaluate
        self.pairs, self.scored = pairs, scored
        self.train_rows, self.heldout_rows = split_rows(len(tokens.lengths), arguments.heldout, arguments.seed)
        self.accelerator = Accelerator(
            mixed_precision=resolve_mixed_precision(arguments.mixed_precision, _recorded_precision(folder)),
            log_with=arguments.log_with or None,
            project_dir=folder,
        )
        self.global_batch = (
            arguments.batch_size * self.accelerator.num_processes * arguments.gradient_accumulation_steps
        )
        self.steps_per_epoch = len(self.train_rows) // self.global_batch
        if not self.steps_per_epoch:
            raise UserError(
                f"There are only {len(self.train_rows)} sentences to train on, fewer than one batch of "
                f"{self.global_batch}; give more text or a smaller --batch_size."
            )
        self.num_steps = arguments.max_steps or max(1, math.ceil(self.steps_per_epoch * arguments.num_epochs))
        self.projection = None
        if store is not None:
            if is_trained:
                projection = self._aligned(student, store)
            else:
                projection = fit_projection(store, student.config.projection_dim, self.train_rows, arguments.seed)
            self.projection = torch.from_numpy(projection).to(self.accelerator.device)
        self._prepare(student)
        self.step = 0
        self.seconds = 0.0
        self.best = -math.inf

    @torch.inference_mode()
    def _aligned(self, student: Any, store: EmbeddingStore) -> np.ndarray:
        """The projection to what the student's dimensions mean."""
        rows = np.random.default_rng(self.arguments.seed).permutation(self.train_rows)[:ALIGNMENT_ROWS]
        rows = rows[np.argsort(self.tokens.lengths[rows], kind="stable")]
        student.eval()
        parts = []
        for part in np.array_split(rows, max(1, len(rows) // 256)):
            ids, mask = map(torch.from_numpy, self.tokens.padded(part))
            parts.append(student(input_ids=ids, attention_mask=mask).pooler_output.float().numpy())
        return orthogonal_map(store.embeddings(rows), np.concatenate(parts))

    def _prepare(self, student: Any) -> None:
        arguments = self.arguments
        on_cpu = self.accelerator.device.type == "cpu"
        if on_cpu:
            # On sentences this short the plain matrix products train a quarter faster than PyTorch's fused kernel.
            student.set_attn_implementation("eager")
        # An Asterisk need not project every token to be trained.
        self._options = {"project_tokens": False} if isinstance(student, AsteriskModel) else {}
        self.table: torch.nn.Parameter | None = None
        if on_cpu and isinstance(student, AsteriskModel) and not arguments.torch_compile:
            # A batch reads few rows of the token table; a gradient and an update of all the others would take as long
            # as a third of the step. (Not on GPUs: NCCL cannot reduce sparse gradients.)
            student.embeddings.embed_tokens.sparse = True
            self.table = cast(torch.nn.Parameter, student.embeddings.embed_tokens.weight)
        optimizers = _optimizers(student, self.table, arguments, self.accelerator.mixed_precision)
        # Every process steps the schedule once a step, whatever their number.
        warmup = math.ceil(self.num_steps * arguments.warmup_ratio)
        self.schedules = [get_cosine_schedule_with_warmup(part, warmup, self.num_steps) for part in optimizers]
        if arguments.torch_compile:
            student.compile(dynamic=True)
        # Nothing is registered with Accelerate for its checkpoints, since it unpickles that without any restriction.
        self.model, *self.optimizers = self.accelerator.prepare(student, *optimizers)

    @property
    def student(self) -> Any:
        """The student as it is now."""
        return self.accelerator.unwrap_model(self.model)

    def train(self, on_best: Callable[[Any], None] | None = None) -> bool:
        """Trains to the end, from the last checkpoint if there is one.

        Args:
            on_best: Called with the student whenever the decisive score is better than ever before.

        Returns:
            Whether anything was left to do.

        Raises:
            UserError: The loss is not finite.
        """
        self._resume()
        first_step = self.step
        arguments = self.arguments
        if arguments.log_with:
            self.accelerator.init_trackers("asterisk")
        started = time.perf_counter() - self.seconds
        main = self.accelerator.is_main_process
        progress = tqdm(
            total=self.num_steps, initial=self.step, desc="Distilling", unit=" steps", disable=None if main else True
        )
        sentences, measured_at = 0, time.perf_counter()
        losses: list[torch.Tensor] = []
        looked_at = 0
        shown: dict[str, str] = {}
        for rows in self._remaining_batches():
            losses.append(self._train_step(rows))
            self.step += 1
            sentences += self.global_batch
            progress.update()
            if self.step % RELEASE_STEPS == 0:
                self._release_memory()
            last = self.step == self.num_steps
            # The first step shows where the curves begin.
            measuring = self.step == 1 or self.step % arguments.eval_steps == 0 or last
            saving = self.step % arguments.checkpoint_steps == 0 or last
            if self.step % LOOK_STEPS == 0 or measuring or saving:
                self._refuse_broken(losses[looked_at:])
                looked_at = len(losses)
                speed = sentences / (time.perf_counter() - measured_at)
                shown |= {"loss": f"{losses[-1]:.4f}", "speed": f"{speed:,.0f} sentences/s"}
            if measuring:
                self.seconds = time.perf_counter() - started
                point = self._measure(torch.stack(losses).mean(), speed, on_best)
                shown |= {name: f"{value:.4f}" for name, value in point["scores"].items()}
                if main:
                    progress.write(self._record(point))
                losses, looked_at, sentences, measured_at = [], 0, 0, time.perf_counter()
            progress.set_postfix(shown, refresh=False)
            if saving:
                self.seconds = time.perf_counter() - started
                self._save_checkpoint()
        progress.close()
        if arguments.average_checkpoints > 1:
            self._average_checkpoints()
        if arguments.log_with:
            self.accelerator.end_training()
        return self.step > first_step

    def _train_step(self, rows: np.ndarray) -> torch.Tensor:
        self.model.train()
        parts = np.array_split(rows, self.arguments.gradient_accumulation_steps)
        pieces = [(piece, part) for part, own in enumerate(parts) for piece in self._pieces(own)]
        losses = []
        for index, (piece, part) in enumerate(pieces):
            share = len(piece) / len(rows)
            if index < len(pieces) - 1:
                with self.accelerator.no_sync(self.model):
                    losses.append(self._backward(piece, part, share))
            else:
                losses.append(self._backward(piece, part, share))
        self._clip_gradients()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        return torch.stack(losses).sum()

    def _pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows, apart where they are long, unless an objective has to see them together."""
        arguments = self.arguments
        together = self.pairs or self.scored or arguments.simcse_weight or arguments.similarity_weight
        tokens = len(rows) * int(self.tokens.lengths[rows].max(initial=1))
        return np.array_split(rows, 1 if together else math.ceil(tokens / TOKENS_AT_A_TIME))

    def _clip_gradients(self) -> None:
        if self.table is None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.arguments.max_grad_norm)
            return
        # PyTorch's clipping takes no sparse gradients, but the values of one are as good as a dense one.
        assert self.table.grad is not None
        self.table.grad = self.table.grad.coalesce()
        others = (weight.grad for weight in self.model.parameters() if weight is not self.table)
        gradients = [self.table.grad._values(), *(gradient for gradient in others if gradient is not None)]
        norm = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, (self.arguments.max_grad_norm / (norm + 1e-6)).clamp(max=1))

    def _backward(self, rows: np.ndarray, part: int, share: float) -> torch.Tensor:
        loss = self._loss(rows, part) * share
        self.accelerator.backward(loss)
        return loss.detach()

    def _loss(self, rows: np.ndarray, part: int) -> torch.Tensor:
        """The weighted sum of all objectives on the rows of the store, and on this step's labelled pairs."""
        weights = self.arguments
        terms = []
        embeddings = self._embed(np.concatenate([rows, rows]) if weights.simcse_weight else rows)
        first = embeddings[: len(rows)]
        if self.store is not None:
            teacher, target = self._targets(rows)
            dimensions = [first.shape[1], *weights.matryoshka_dims]
            for student, truth in truncations(first, target, dimensions):
                point_wise = weights.cosine_weight * cosine_loss(student, truth)
                if weights.mse_weight:
                    point_wise = point_wise + weights.mse_weight * mse_loss(student, truth)
                if weights.similarity_weight:
                    point_wise = point_wise + weights.similarity_weight * similarity_loss(student, teacher)
                terms.append(point_wise / len(dimensions))
        if weights.simcse_weight:
            contrast = contrastive_loss(first, embeddings[len(rows) :], weights.temperature)
            terms.append(weights.simcse_weight * contrast)
        if self.pairs is not None:
            terms.append(weights.pair_weight * self._pair_loss(self.pairs, len(rows), part))
        if self.scored is not None:
            terms.append(weights.ranking_weight * self._ranking_loss(self.scored, len(rows), part))
        return torch.stack(terms).sum()

    def _pair_loss(self, pairs: Pairs, batch_size: int, part: int) -> torch.Tensor:
        arguments = self.arguments
        chosen = self._chosen_pairs(len(pairs.anchors), batch_size, part)
        groups = [pairs.anchors[chosen], pairs.positives[chosen]]
        if pairs.negatives is not None:
            groups.append(pairs.negatives[chosen])
        rows = np.concatenate(groups)
        embeddings = self._embed(rows)
        excluded = None
        if arguments.guided_negatives and self.store is not None:
            teacher, _ = self._targets(rows)
            excluded = false_negatives(teacher[: len(chosen)], teacher[len(chosen) :])
        return contrastive_loss(embeddings[: len(chosen)], embeddings[len(chosen) :], arguments.temperature, excluded)

    def _ranking_loss(self, pairs: ScoredPairs, batch_size: int, part: int) -> torch.Tensor:
        chosen = self._chosen_pairs(len(pairs.first), batch_size, part)
        embeddings = self._embed(np.concatenate([pairs.first[chosen], pairs.second[chosen]]))
        scores, groups = (
            torch.from_numpy(array[chosen]).to(embeddings.device) for array in (pairs.scores, pairs.groups)
        )
        first, second = embeddings.split(len(chosen))
        return ranking_loss(first, second, scores, groups, self.arguments.temperature)

    def _chosen_pairs(self, count: int, batch_size: int, part: int) -> np.ndarray:
        """The pairs, of so many, that go with this batch; each process and each accumulated batch takes others."""
        arguments = self.arguments
        size = min(count, max(2, round(batch_size * arguments.pair_ratio)))
        parts = self.accelerator.num_processes * arguments.gradient_accumulation_steps
        turn = self.step * parts + self.accelerator.process_index * arguments.gradient_accumulation_steps + part
        return pair_batch(count, size, arguments.seed, turn)

    def _embed(self, rows: np.ndarray) -> torch.Tensor:
        ids, mask = (torch.from_numpy(array).to(self.accelerator.device) for array in self.tokens.padded(rows))
        return self.model(input_ids=ids, attention_mask=mask, **self._options).pooler_output.float()

    def _targets(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher's vectors of the rows, of unit length, and their projection to the student's dimensions."""
        assert self.store is not None
        assert self.projection is not None
        teacher = torch.from_numpy(self.store.embeddings(rows)).to(self.accelerator.device).float()
        return teacher, teacher @ self.projection

    def _remaining_batches(self) -> Iterator[np.ndarray]:
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        while self.step < self.num_steps:
            epoch, first = divmod(self.step, self.steps_per_epoch)
            made = length_batches(self.tokens.lengths, self.train_rows, self.global_batch, self.arguments.seed, epoch)
            for rows in made[first : first + self.num_steps - self.step]:
                yield rows[process::processes]

    def _release_memory(self) -> None:
        self.tokens.release()
        if self.store is not None:
            self.store.release()

    def _refuse_broken(self, losses: list[torch.Tensor]) -> None:
        broken = torch.nonzero(~torch.isfinite(torch.stack(losses))).flatten() if losses else torch.tensor([])
        if len(broken):
            step = self.step - len(losses) + int(broken[0])
            epoch, index = divmod(step, self.steps_per_epoch)
            made = length_batches(self.tokens.lengths, self.train_rows, self.global_batch, self.arguments.seed, epoch)
            rows = ", ".join(map(str, made[index][:3]))
            raise UserError(
                f"The loss is not finite at step {step:,} (batch {index:,} of epoch {epoch}: rows {rows}, ... of the "
                f"store); lower --learning_rate ({self.arguments.learning_rate}) and go on from the checkpoint in "
                f"{self.folder / 'checkpoints'} with --resume."
            )

    def _measure(self, loss: torch.Tensor, speed: float, on_best: Callable[[Any], None] | None) -> Point:
        student = self.student
        scores: dict[str, float] = {}
        if self.evaluate is not None:
            scores |= self.evaluate(student)
        if self.store is not None:
            scores |= {"agreement": self.agreement()}
        if scores and (decisive := next(iter(scores.values()))) > self.best:
            self.best = decisive
            if on_best is not None and self.accelerator.is_main_process:
                on_best(student)
        return {
            "step": self.step,
            "loss": self.accelerator.reduce(loss, "mean").item(),
            "scores": scores,
            "learning_rate": self.schedules[0].get_last_lr()[0],
            "sentences_per_second": speed,
            "seconds": self.seconds,
        }

    @torch.inference_mode()
    def agreement(self) -> float:
        """Mean cosine between student and projected teacher on the sentences that were held out."""
        student = self.student.eval()
        by_length = self.heldout_rows[np.argsort(self.tokens.lengths[self.heldout_rows])]
        total = 0.0
        for rows in np.array_split(by_length, max(1, len(by_length) // 256)):
            _, target = self._targets(rows)
            ids, mask = (torch.from_numpy(array).to(target.device) for array in self.tokens.padded(rows))
            with self.accelerator.autocast():
                embedding = student(input_ids=ids, attention_mask=mask).pooler_output.float()
            total += torch.nn.functional.cosine_similarity(embedding, target, dim=-1).sum().item()
        return total / len(by_length)

    def _record(self, point: Point) -> str:
        """Writes the point to the curves and the tracker; returns it as a line to print."""
        curves = self.folder / "curves.jsonl"
        with report_write_errors(curves), curves.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
        numbers = {"loss": point["loss"], **point["scores"]}
        if self.arguments.log_with:
            self.accelerator.log(
                {**numbers, **{name: value for name, value in point.items() if isinstance(value, float)}},
                step=self.step,
            )
        described = "   ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        speed = f"{point['sentences_per_second']:,.0f} sentences/s"
        return f"step {self.step:,} of {self.num_steps:,}   {described}   {speed}   {self.seconds:.0f} s"

    def _save_checkpoint(self) -> None:
        folder = self.folder / "checkpoints"
        temporary, final = folder / ".new", folder / f"step-{self.step:07d}"
        if self.accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with report_write_errors(final):
            self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            progress = {
                "step": self.step,
                "seconds": self.seconds,
                "best": self.best,
                "mixed_precision": self.accelerator.mixed_precision,
            }
            write_json(temporary / "progress.json", progress)
            write_checksums(temporary)
            temporary.rename(final)
            for older in sorted(folder.glob("step-*"))[: -self.arguments.average_checkpoints]:
                remove_folder(older)
        self.accelerator.wait_for_everyone()

    def _average_checkpoints(self) -> None:
        found = sorted((self.folder / "checkpoints").glob("step-*"))[-self.arguments.average_checkpoints :]
        weights = [load_file(folder / "model.safetensors") for folder in found]
        mean = {name: torch.stack([part[name] for part in weights]).mean(dim=0) for name in weights[0]}
        self.accelerator.unwrap_model(self.model).load_state_dict(mean)

    def _resume(self) -> None:
        folder = self.folder / "checkpoints"
        if self.accelerator.is_main_process:
            for begun in folder.glob(".*"):  # being made or removed when the run was killed
                shutil.rmtree(begun, ignore_errors=True)
        found = sorted(folder.glob("step-*"))
        for checkpoint in found:
            if (checkpoint / CHECKSUMS).exists():  # older versions wrote none
                verify_checksums(
                    checkpoint, f"delete {checkpoint} and run the command again, which then repeats some steps"
                )
        if found:
            try:
                self._load_checkpoint(found[-1])
            except Exception as error:  # each of its files has errors of its own
                raise UserError(
                    f"The checkpoint {found[-1]} cannot be loaded: {' '.join(str(error).split())[:300]} "
                    "Delete it to go on from the one before, or from the start."
                ) from error
        if self.accelerator.is_main_process:
            # Points after the checkpoint will be measured again.
            curves = self.folder / "curves.jsonl"
            write_curves([point for point in read_curves(curves) if point["step"] <= self.step], curves)

    def _load_checkpoint(self, folder: Path) -> None:
        """Goes back to a checkpoint.

        No file of it can run code. Accelerate reads optimizers and random states, which are pickles, with torch's
        restricted reader, which knows tensors, numbers and containers of them, and refuses all else.
        """
        progress = read_json(folder / "progress.json")
        self.step, self.seconds, self.best = progress["step"], progress["seconds"], progress["best"]
        self.accelerator.load_state(str(folder))
        for schedule in self.schedules:
            schedule.last_epoch = self.step


def _optimizers(
    student: torch.nn.Module, table: torch.nn.Parameter | None, arguments: LoopArguments, mixed_precision: str
) -> list[torch.optim.Optimizer]:
    """AdamW; Muon for the matrices of an Asterisk's layers; Adam for the rows that a batch reads of a sparse table."""
    matrices = []
    if arguments.muon_factor and isinstance(student, AsteriskModel):
        matrices = [weight for weight in student.layers.parameters() if weight.dim() == 2]
    others = {id(weight) for weight in [table, *matrices]}
    dense = [weight for weight in student.parameters() if id(weight) not in others]
    groups = parameter_groups(dense, arguments.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=arguments.learning_rate, fused=True)]
    if matrices:
        rate = arguments.learning_rate * arguments.muon_factor
        dtype = torch.bfloat16 if mixed_precision == "bf16" else torch.float32
        optimizers.append(Muon(matrices, lr=rate, dtype=dtype))
    if table is not None:
        optimizers.append(torch.optim.SparseAdam([table], lr=arguments.learning_rate))
    return optimizers


def _recorded_precision(folder: Path) -> str | None:
    """The mixed precision of the newest checkpoint, which a resumed run keeps; None without a checkpoint."""
    checkpoints = sorted((folder / "checkpoints").glob("step-*"))
    progress = read_json(checkpoints[-1] / "progress.json", required=False) if checkpoints else None
    return (progress or {}).get("mixed_precision")
