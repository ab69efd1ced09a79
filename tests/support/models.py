"""Small models with random weights."""

from typing import Any

import torch

from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

SIZES: dict[str, Any] = {
    "vocab_size": 31_000,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "projection_dim": 48,
    "initializer_range": 0.5,  # as in a trained table, so that tokens differ
}


def make_model(**fields: Any) -> AsteriskModel:
    torch.manual_seed(0)
    return AsteriskModel(AsteriskConfig(**{**SIZES, **fields})).eval()


def make_classifier(**fields: Any) -> AsteriskForSequenceClassification:
    torch.manual_seed(0)
    return AsteriskForSequenceClassification(AsteriskConfig(**{**SIZES, **fields})).eval()
