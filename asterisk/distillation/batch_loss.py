"""The loss of one batch: the weighted sum of all objectives."""

import math
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.batching import pair_batch
from asterisk.distillation.objectives import (
    contrastive_loss,
    cosine_loss,
    false_negatives,
    mse_loss,
    ranking_loss,
    similarity_loss,
    truncations,
)
from asterisk.distillation.pairs import Pairs, ScoredPairs
from asterisk.teachers.store import EmbeddingStore
from asterisk.teachers.token_store import TokenStore
from modeling_asterisk import AsteriskModel

# Tokens per forward pass, padding included: 256 texts of 128 tokens. A larger batch is split, which gives the same
# gradient in less memory.
TOKENS_PER_PASS = 32_768


class BatchLoss:
    """The loss of a batch of rows of a store."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: Any,
        tokens: TokenStore,
        store: EmbeddingStore | None,
        projection: torch.Tensor | None,
        arguments: LoopArguments,
        pairs: Pairs | None = None,
        scored_pairs: ScoredPairs | None = None,
    ):
        """Hold the inputs of the loss.

        Args:
            accelerator: Provides the device.
            model: The student, as Accelerate prepared it.
            tokens: The sentences, as the student's token ids.
            store: The teacher's vectors of the same rows, or None without a teacher.
            projection: (teacher's dimensions, student's dimensions), float32; None without a teacher.
            arguments: The weights of the objectives.
            pairs: Labelled pairs for the contrast.
            scored_pairs: Scored pairs for the ranking.
        """
        self.model, self.tokens, self.store, self.projection = model, tokens, store, projection
        self.arguments, self.device = arguments, accelerator.device
        self.pairs, self.scored_pairs = pairs, scored_pairs
        # Training reads only the pooled output, so an Asterisk skips the projection of every token.
        is_asterisk = isinstance(accelerator.unwrap_model(model), AsteriskModel)
        self._forward_options = {"project_tokens": False} if is_asterisk else {}

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """Split rows into forward passes; rows stay together if an objective compares them with one another."""
        arguments = self.arguments
        compares = self.pairs or self.scored_pairs or arguments.simcse_weight or arguments.similarity_weight
        num_tokens = len(rows) * int(self.tokens.lengths[rows].max(initial=1))
        return np.array_split(rows, 1 if compares else math.ceil(num_tokens / TOKENS_PER_PASS))

    def __call__(self, rows: np.ndarray, turn: int) -> torch.Tensor:
        """Return the loss of the rows plus that of this turn's pairs: a scalar with gradient.

        Args:
            rows: Rows of the store.
            turn: Number of the batch over all steps, processes and accumulation; it selects the pairs.
        """
        arguments = self.arguments
        terms = []
        embeddings = self.embed(np.concatenate([rows, rows]) if arguments.simcse_weight else rows)
        first_view, second_view = embeddings[: len(rows)], embeddings[len(rows) :]
        if self.store is not None:
            terms += self._teacher_losses(first_view, rows)
        if arguments.simcse_weight:
            contrast = contrastive_loss(first_view, second_view, arguments.temperature)
            terms.append(arguments.simcse_weight * contrast)
        if self.pairs is not None:
            terms.append(arguments.pair_weight * self._pair_loss(self.pairs, len(rows), turn))
        if self.scored_pairs is not None:
            terms.append(arguments.ranking_weight * self._ranking_loss(self.scored_pairs, len(rows), turn))
        return torch.stack(terms).sum()

    def embed(self, rows: np.ndarray) -> torch.Tensor:
        """Return the student's embeddings of the rows: (rows, student's dimensions), float32."""
        ids, mask = (torch.from_numpy(array).to(self.device) for array in self.tokens.padded(rows))
        return self.model(input_ids=ids, attention_mask=mask, **self._forward_options).pooler_output.float()

    def teacher_vectors(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the teacher's unit vectors of the rows, and their projection to the student's dimensions."""
        assert self.store is not None
        assert self.projection is not None
        teacher = torch.from_numpy(self.store.embeddings(rows)).to(self.device).float()
        return teacher, teacher @ self.projection

    def _teacher_losses(self, embeddings: torch.Tensor, rows: np.ndarray) -> list[torch.Tensor]:
        """Return a share of the loss for each truncation; their sum is the mean over the truncations."""
        weights = self.arguments
        teacher, target = self.teacher_vectors(rows)
        dimensions = [embeddings.shape[1], *weights.matryoshka_dims]
        terms = []
        for student, truth in truncations(embeddings, target, dimensions):
            loss = weights.cosine_weight * cosine_loss(student, truth)
            if weights.mse_weight:
                loss = loss + weights.mse_weight * mse_loss(student, truth)
            if weights.similarity_weight:
                loss = loss + weights.similarity_weight * similarity_loss(student, teacher)
            terms.append(loss / len(dimensions))
        return terms

    def _pair_loss(self, pairs: Pairs, batch_size: int, turn: int) -> torch.Tensor:
        selected = self._select_pairs(len(pairs.anchors), batch_size, turn)
        rows = np.concatenate([column[selected] for column in pairs.columns])
        count = len(selected)
        embeddings = self.embed(rows)
        excluded = None
        if self.arguments.guided_negatives and self.store is not None:
            teacher, _ = self.teacher_vectors(rows)
            excluded = false_negatives(teacher[:count], teacher[count:])
        return contrastive_loss(embeddings[:count], embeddings[count:], self.arguments.temperature, excluded)

    def _ranking_loss(self, pairs: ScoredPairs, batch_size: int, turn: int) -> torch.Tensor:
        selected = self._select_pairs(len(pairs.first), batch_size, turn)
        embeddings = self.embed(np.concatenate([pairs.first[selected], pairs.second[selected]]))
        first, second = embeddings.split(len(selected))
        scores, tables = (torch.from_numpy(array[selected]).to(self.device) for array in (pairs.scores, pairs.tables))
        return ranking_loss(first, second, scores, tables, self.arguments.temperature)

    def _select_pairs(self, count: int, batch_size: int, turn: int) -> np.ndarray:
        size = min(count, max(2, round(batch_size * self.arguments.pair_ratio)))
        return pair_batch(count, size, self.arguments.seed, turn)
