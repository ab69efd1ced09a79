"""The loss of one batch: the weighted sum of all objectives."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.batching import pair_batch
from asterisk.distillation.label_tasks import LabelledCorpus, LabelTask
from asterisk.distillation.objectives import (
    contrastive_loss,
    cosine_loss,
    false_negatives,
    label_contrast,
    mse_loss,
    ranking_loss,
    relation_loss,
    similarity_loss,
    truncations,
)
from asterisk.distillation.pairs import Pairs, ScoredPairs
from asterisk.teachers.store import EmbeddingStore, JoinedStore
from asterisk.teachers.token_store import TokenStore
from modeling_asterisk import AsteriskModel

# Tokens per forward pass, padding included: 256 texts of 128 tokens. A larger batch is split, which gives the same
# gradient in less memory.
TOKENS_PER_PASS = 32_768
LABELLED_TEXTS_PER_PASS = 48
# An orthonormal projection lengthens no vector, up to rounding.
LONGEST_UNIT = 1.01


class BatchLoss:
    """The loss of a batch of rows of a store."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: Any,
        tokens: TokenStore,
        store: EmbeddingStore | JoinedStore | None,
        projection: torch.Tensor | None,
        arguments: LoopArguments,
        pairs: Pairs | None = None,
        scored_pairs: ScoredPairs | None = None,
        labelled: LabelledCorpus | None = None,
    ):
        """Store the inputs of the loss.

        Args:
            accelerator: Provides the device.
            model: The student, as Accelerate prepared it.
            tokens: The sentences, as the student's token ids.
            store: The teacher's vectors of the same rows, or None without a teacher.
            projection: (teacher's dimensions, student's dimensions), float32; None without a teacher.
            arguments: The weights of the objectives.
            pairs: Labelled pairs for the contrast.
            scored_pairs: Scored pairs for the ranking.
            labelled: Labelled texts for the contrast between groups.
        """
        self.model, self.tokens, self.store, self.projection = model, tokens, store, projection
        self.arguments, self.device = arguments, accelerator.device
        self.pairs, self.scored_pairs, self.labelled = pairs, scored_pairs, labelled
        student = accelerator.unwrap_model(model)
        # Label tasks may stretch the projection; the teacher's relations are then those between the targets.
        self._is_stretched = projection is not None and bool(torch.linalg.matrix_norm(projection, 2) > LONGEST_UNIT)
        exits = len(getattr(student.config, "exit_layers", None) or ())
        self._depth_weights = [1.0, *(arguments.exit_weights or [1.0] * exits)]
        # Training reads only the pooled output, so an Asterisk need not project every token.
        is_asterisk = isinstance(student, AsteriskModel)
        self._forward_options = {"project_tokens": False, "output_exits": bool(exits)} if is_asterisk else {}

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """Split rows into forward passes; all rows stay together if an objective compares them with one another."""
        arguments = self.arguments
        weights = (arguments.simcse_weight, arguments.similarity_weight, arguments.relation_weight)
        compares = self.pairs or self.scored_pairs or any(weights)
        num_tokens = len(rows) * int(self.tokens.lengths[rows].max(initial=1))
        return np.array_split(rows, 1 if compares else math.ceil(num_tokens / TOKENS_PER_PASS))

    def __call__(self, rows: np.ndarray, turn: int) -> torch.Tensor:
        """Return the loss of the rows plus that of this turn's pairs: a scalar with gradient.

        Args:
            rows: Rows of the store.
            turn: Number of the batch over all steps, processes and accumulation steps; it selects the pairs.
        """
        arguments = self.arguments
        terms = []
        count = len(rows)
        embeddings = self.embed(np.concatenate([rows, rows]) if arguments.simcse_weight else rows)
        if self.store is not None:
            teacher, target = self.teacher_vectors(rows)
            terms.append(self._over_depths(embeddings, lambda part: self._teacher_loss(part[:count], teacher, target)))
        if arguments.simcse_weight:
            contrast = self._over_depths(
                embeddings, lambda part: contrastive_loss(part[:count], part[count:], arguments.temperature)
            )
            terms.append(arguments.simcse_weight * contrast)
        if self.labelled is not None:
            terms.append(self._label_loss(self.labelled, turn))
        if self.pairs is not None:
            terms.append(arguments.pair_weight * self._pair_loss(self.pairs, len(rows), turn))
        if self.scored_pairs is not None:
            terms.append(arguments.ranking_weight * self._ranking_loss(self.scored_pairs, len(rows), turn))
        return torch.stack(terms).sum()

    def embed(self, rows: np.ndarray) -> list[torch.Tensor]:
        """Return the student's embeddings of the rows at its full depth and its exits.

        Each is (rows, student's dimensions), float32.
        """
        return self._forward(*map(torch.from_numpy, self.tokens.padded(rows)))

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        output = self.model(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), **self._forward_options
        )
        return [part.float() for part in (output.pooler_output, *(getattr(output, "exit_embeddings", None) or ()))]

    def _over_depths(
        self, embeddings: list[torch.Tensor], loss: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return the weighted sum of a loss over the full depth and the exits (Starbucks, arXiv 2410.13230)."""
        terms = [weight * loss(part) for weight, part in zip(self._depth_weights, embeddings, strict=True)]
        return torch.stack(terms).sum()

    def teacher_vectors(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors whose relations the student learns, and its targets: (rows, dimensions), float32.

        The targets are the teacher's projected vectors. The relations are those of the teacher's unit vectors or, if
        the projection is stretched, of the targets at unit length.
        """
        assert self.store is not None
        assert self.projection is not None
        teacher = torch.from_numpy(self.store.embeddings(rows)).to(self.device).float()
        target = teacher @ self.projection
        return (torch.nn.functional.normalize(target, dim=-1) if self._is_stretched else teacher), target

    def _teacher_loss(self, embeddings: torch.Tensor, teacher: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the losses to the teacher, averaged over the truncations."""
        weights = self.arguments
        dimensions = [embeddings.shape[1], *weights.matryoshka_dims]
        terms = []
        for student, truth in truncations(embeddings, target, dimensions):
            loss = weights.cosine_weight * cosine_loss(student, truth)
            if weights.mse_weight:
                loss = loss + weights.mse_weight * mse_loss(student, truth)
            if weights.similarity_weight:
                loss = loss + weights.similarity_weight * similarity_loss(student, teacher)
            if weights.relation_weight:
                loss = loss + weights.relation_weight * relation_loss(student, teacher, weights.temperature)
            terms.append(loss)
        return torch.stack(terms).mean()

    def _label_loss(self, labelled: LabelledCorpus, turn: int) -> torch.Tensor:
        selected = labelled.batch(self.arguments.label_batch_size, self.arguments.seed, turn)
        # Short and long texts take separate passes: in a single pass, more than half of the tokens would be padding.
        order = np.argsort([len(labelled.token_ids[row]) for row in selected], kind="stable")
        parts = np.array_split(selected[order], math.ceil(len(order) / LABELLED_TEXTS_PER_PASS))
        passes = [self._forward(*labelled.padded(part)) for part in parts]
        inverse = torch.from_numpy(np.argsort(order)).to(self.device)
        embeddings = [torch.cat(depth)[inverse] for depth in zip(*passes, strict=True)]
        terms = [
            task.weight * self._over_depths(embeddings, partial(self._task_loss, task, selected))
            for task in labelled.tasks
        ]
        return torch.stack(terms).sum()

    def _task_loss(self, task: LabelTask, selected: np.ndarray, embeddings: torch.Tensor) -> torch.Tensor:
        """Return one task's loss for the embeddings of the selected texts, averaged over the truncations."""
        arguments = self.arguments
        known = torch.from_numpy(np.flatnonzero(task.known[selected])).to(self.device)
        groups = torch.from_numpy(task.groups[selected]).to(self.device)[known]
        # The numbers of the first half are compared with those of the second half.
        half = len(selected) // 2
        numbers = torch.from_numpy(task.numbers[selected]).to(self.device)
        distances = (numbers[:half] - numbers[half : 2 * half]).abs()
        paired = torch.nonzero(distances.isfinite()).flatten()
        one_table = torch.zeros_like(paired)
        terms = []
        for size in (embeddings.shape[1], *arguments.matryoshka_dims):
            view = torch.nn.functional.normalize(embeddings[:, :size], dim=-1)
            loss = label_contrast(view[known], groups, arguments.label_temperature)
            if len(paired) > 1:
                first, second = view[paired], view[half + paired]
                loss = loss + ranking_loss(first, second, -distances[paired], one_table, arguments.temperature)
            terms.append(loss)
        return torch.stack(terms).mean()

    def _pair_loss(self, pairs: Pairs, batch_size: int, turn: int) -> torch.Tensor:
        selected = self._select_pairs(len(pairs.anchors), batch_size, turn)
        rows = np.concatenate([column[selected] for column in pairs.columns])
        count = len(selected)
        embeddings = self.embed(rows)
        excluded = None
        if self.arguments.guided_negatives and self.store is not None:
            teacher, _ = self.teacher_vectors(rows)
            excluded = false_negatives(teacher[:count], teacher[count:])
        temperature = self.arguments.temperature
        return self._over_depths(
            embeddings, lambda part: contrastive_loss(part[:count], part[count:], temperature, excluded)
        )

    def _ranking_loss(self, pairs: ScoredPairs, batch_size: int, turn: int) -> torch.Tensor:
        selected = self._select_pairs(len(pairs.first), batch_size, turn)
        embeddings = self.embed(np.concatenate([pairs.first[selected], pairs.second[selected]]))
        scores, tables = (torch.from_numpy(array[selected]).to(self.device) for array in (pairs.scores, pairs.tables))
        temperature = self.arguments.temperature
        count = len(selected)
        return self._over_depths(
            embeddings, lambda part: ranking_loss(part[:count], part[count:], scores, tables, temperature)
        )

    def _select_pairs(self, count: int, batch_size: int, turn: int) -> np.ndarray:
        size = min(count, max(2, round(batch_size * self.arguments.pair_ratio)))
        return pair_batch(count, size, self.arguments.seed, turn)
