"""What is published: an Asterisk, with or without a classification head, and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.models.checkpoints import load_asterisk, model_type
from asterisk.models.tokenizers import portable_tokenizer
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

# A tokenizer without a limit of its own reports one far beyond what any model reads.
UNLIMITED = 1_000_000

BATCH = 64


@dataclass
class Checkpoint:
    """A loaded checkpoint, in float32, in evaluation mode."""

    folder: Path
    model: AsteriskModel | AsteriskForSequenceClassification
    tokenizer: PreTrainedTokenizerFast

    @property
    def config(self) -> AsteriskConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def backbone(self) -> AsteriskModel:
        """The embedding model."""
        return self.model.asterisk if isinstance(self.model, AsteriskForSequenceClassification) else self.model

    @property
    def is_classifier(self) -> bool:
        """Whether there is a head."""
        return isinstance(self.model, AsteriskForSequenceClassification)

    @property
    def max_length(self) -> int | None:
        """The longest text in tokens; None if nothing limits it."""
        return self.tokenizer.model_max_length if self.tokenizer.model_max_length < UNLIMITED else None

    def output(self, texts: list[str]) -> np.ndarray:
        """What every published form is compared with: (texts, dimensions) embeddings or (texts, labels) logits."""
        embeddings = self.backbone.encode(texts, batch_size=BATCH, tokenizer=self.tokenizer)
        if not isinstance(self.model, AsteriskForSequenceClassification):
            return embeddings
        with torch.inference_mode():
            return self.model(sentence_embeddings=torch.from_numpy(embeddings)).logits.float().numpy()


def load_checkpoint(folder: Path) -> Checkpoint:
    """Loads a student's or a head's folder.

    Raises:
        UserError: The folder holds no Asterisk with weights and a tokenizer.
    """
    if not folder.is_dir():
        raise UserError(f"There is no checkpoint folder {folder}; give what train_distill.py or train_head.py wrote.")
    if (found := model_type(folder)) != AsteriskConfig.model_type:
        raise UserError(f"{folder} holds a model of type {found!r}; only an Asterisk can be published.")
    has_head = "SequenceClassification" in str(read_json(folder / "config.json").get("architectures"))
    kind: Any = AsteriskForSequenceClassification if has_head else AsteriskModel
    model, tokenizer = load_asterisk(folder, folder, kind, dtype=torch.float32)
    limit = tokenizer.model_max_length
    if model.config.position_encoding == "learned":
        limit = min(limit, model.config.max_position_embeddings)
    portable = portable_tokenizer(tokenizer, limit)
    if portable.pad_token is None:
        raise UserError(f"The tokenizer of {folder} has no padding token, without which no consumer can batch texts.")
    return Checkpoint(folder, model.eval(), portable)
