"""The checkpoint to publish: an Asterisk, with or without a classification head, and its tokenizer."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.distillation.projection import in_teacher_space
from asterisk.models.checkpoints import load_asterisk, model_type
from asterisk.models.tokenizers import UNLIMITED, max_input_length, portable_tokenizer
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

BATCH = 64


@dataclass
class Checkpoint:
    """A loaded checkpoint, in float32 and in evaluation mode."""

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
        """Whether the model has a classification head."""
        return isinstance(self.model, AsteriskForSequenceClassification)

    @property
    def max_length(self) -> int | None:
        """The maximum length of a text in tokens; None if there is no limit."""
        return self.tokenizer.model_max_length if self.tokenizer.model_max_length < UNLIMITED else None

    def at(self, layers: int) -> "Checkpoint":
        """Return the exit after this many layers."""
        return replace(self, model=self.model.truncated(layers))

    def output(self, texts: list[str]) -> np.ndarray:
        """Compute the reference for all published forms: embeddings (texts, dimensions) or logits (texts, labels)."""
        embeddings = self.backbone.encode(texts, batch_size=BATCH, tokenizer=self.tokenizer)
        if not isinstance(self.model, AsteriskForSequenceClassification):
            return embeddings
        with torch.inference_mode():
            return self.model(sentence_embeddings=torch.from_numpy(embeddings)).logits.float().numpy()


def load_checkpoint(folder: Path, layers: int | None = None, space: str = "") -> Checkpoint:
    """Load the folder of a student or of a head.

    Args:
        folder: The folder.
        layers: Load the exit after this many layers as a separate model; by default, the whole model.
        space: The teacher to whose space the embeddings are mapped; empty means no mapping.

    Raises:
        UserError: The folder holds no complete Asterisk, or it has no such exit or space.
    """
    if not folder.is_dir():
        raise UserError(f"There is no checkpoint folder {folder}; give one of train_distill.py or train_head.py.")
    if (found := model_type(folder)) != AsteriskConfig.model_type:
        raise UserError(f"{folder} holds a model of type {found!r}; only an Asterisk can be published.")
    has_head = "SequenceClassification" in str(read_json(folder / "config.json").get("architectures"))
    kind: Any = AsteriskForSequenceClassification if has_head else AsteriskModel
    model, tokenizer = load_asterisk(folder, folder, kind, layers=layers, dtype=torch.float32)
    if space:
        if has_head:
            raise UserError("--space needs an embedding model, not a classifier.")
        try:
            model = in_teacher_space(model, space)
        except ValueError as error:
            raise UserError(f"--space: {error}") from None
    portable = portable_tokenizer(tokenizer, max_input_length(tokenizer, model.config))
    if portable.pad_token is None:
        raise UserError(f"The tokenizer of {folder} has no padding token; batches of texts need one.")
    return Checkpoint(folder, model.eval(), portable)
