"""Token ids and labels as the Trainer takes them, and a token table of the rows that they need alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from modeling_asterisk import AsteriskForSequenceClassification


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


def tokens_of(*parts: TokenizedRows | None) -> np.ndarray:
    """The distinct token ids of texts, and 0, with which they are padded: (tokens,) int64, ascending."""
    found = {token for part in parts if part for ids in part.token_ids for token in ids}
    return np.array(sorted({0, *found}), np.int64)


def renumbered(part: TokenizedRows, kept: np.ndarray) -> TokenizedRows:
    """The texts with the places of their tokens among those that are kept for token ids."""
    return TokenizedRows([np.searchsorted(kept, ids).tolist() for ids in part.token_ids], part.labels)


def narrow_table(model: AsteriskForSequenceClassification, kept: np.ndarray) -> nn.Embedding:
    """Leaves a model the rows of these tokens alone, and returns the whole table.

    No other row would get a gradient, nor has the table any weight decay, so that the training is the same. But a
    step's time would go to zeros: most of the weights are the table's.
    """
    whole: Any = model.get_input_embeddings()
    rows = whole.weight.detach()[torch.from_numpy(kept).to(whole.weight.device)]
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False))
    return whole


@contextmanager
def narrowed_table(model: AsteriskForSequenceClassification, *parts: TokenizedRows | None) -> Iterator[list[Any]]:
    """While it lasts the model has the rows of these texts' tokens alone, and is to be given what is yielded: the
    texts [`renumbered`]. Afterwards what was learned is in the whole table."""
    kept = tokens_of(*parts)
    whole = narrow_table(model, kept)
    try:
        yield [renumbered(part, kept) if part else None for part in parts]
    finally:
        own: Any = model.get_input_embeddings()
        whole.to(own.weight.device)
        with torch.no_grad():
            whole.weight[torch.from_numpy(kept).to(own.weight.device)] = own.weight
        model.set_input_embeddings(whole)
