"""Tokenised texts for the Trainer, and a token table reduced to their rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from asterisk.models.passes import pad_token_ids
from modeling_asterisk import AsteriskForSequenceClassification


class TokenizedRows(Dataset):
    """Token ids and labels, read in padded batches."""

    def __init__(self, token_ids: list[list[int]], labels: torch.Tensor):
        self.token_ids, self.labels = token_ids, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        # The Trainer's sampler reads the lengths of the texts here.
        return {"input_ids": self.token_ids[row]}

    def __getitems__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """Return the batch of these rows; PyTorch's data loader calls this method."""
        ids, mask = map(torch.from_numpy, pad_token_ids([self.token_ids[row] for row in rows]))
        return {"input_ids": ids, "attention_mask": mask, "labels": self.labels[rows]}

    def renumbered(self, kept: np.ndarray) -> "TokenizedRows":
        """Return the same texts, with each token's id replaced by its position in `kept` (ascending ids)."""
        return TokenizedRows([np.searchsorted(kept, ids).tolist() for ids in self.token_ids], self.labels)


def distinct_tokens(*parts: TokenizedRows | None) -> np.ndarray:
    """Return the token ids of the texts and the padding id 0, ascending: (tokens,), int64."""
    tokens = {token for part in parts if part for ids in part.token_ids for token in ids}
    return np.array(sorted({0, *tokens}), np.int64)


@contextmanager
def narrowed_table(
    model: AsteriskForSequenceClassification, *parts: TokenizedRows | None
) -> Iterator[list[TokenizedRows | None]]:
    """Reduce the model's token table to the rows of these texts, and yield the texts with renumbered token ids.

    The training is the same, since the other rows would get no gradient, and the table has no weight decay. A step is
    much faster, since most weights are in the table. On exit, the learned rows are copied into the whole table.
    """
    kept = distinct_tokens(*parts)
    rows = torch.from_numpy(kept)
    whole: Any = model.get_input_embeddings()
    narrow = nn.Embedding.from_pretrained(whole.weight.detach()[rows.to(whole.weight.device)], freeze=False)
    model.set_input_embeddings(narrow)
    try:
        yield [part and part.renumbered(kept) for part in parts]
    finally:
        device = narrow.weight.device
        whole.to(device)
        with torch.no_grad():
            whole.weight[rows.to(device)] = narrow.weight
        model.set_input_embeddings(whole)
