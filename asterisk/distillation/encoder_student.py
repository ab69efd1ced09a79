"""An existing encoder as the student: some or all of its layers, a pooling and an optional projection."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    Transformer,
    WeightedLayerPooling,
)
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutputWithPooling

from asterisk.core.errors import UserError
from asterisk.distillation.arguments import StudentArguments
from asterisk.models.checkpoints import load_asterisk, model_type
from asterisk.models.resolve import loading, resolve_model
from asterisk.models.sentence_transformer import load_sentence_transformer
from asterisk.models.tokenizers import portable_tokenizer
from modeling_asterisk import AsteriskConfig, AsteriskModel

POOLINGS = ("mean", "cls", "max")
ACTIVATIONS = {"tanh": nn.Tanh, "linear": nn.Identity}


@dataclass
class EncoderStudentConfig:
    """The configuration of an [`EncoderStudent`]."""

    encoder: str
    embedding_size: int
    keep_layers: list[int] = field(default_factory=list)
    pooling: str = "mean"
    average_layers: int = 1
    activation: str = ""


class EncoderStudent(nn.Module):
    """A pretrained encoder that trains like an Asterisk and is saved as a sentence-transformers model.

    It consists of sentence-transformers' modules, so the saved model computes the same as the trained one.
    """

    def __init__(
        self,
        encoder: str,
        keep_layers: Sequence[int] = (),
        pooling: str = "mean",
        average_layers: int = 1,
        projection_dim: int = 0,
        activation: str = "tanh",
        max_length: int = 128,
    ):
        """Load the encoder; torch's seed determines the initial weights of a projection.

        Args:
            encoder: A transformers or sentence-transformers encoder: a folder, a Hub id or `package:NAME`. A
                sentence-transformers model loses its pooling and projection.
            keep_layers: The layers to keep, counted from 0, in ascending order; empty means all.
            pooling: "mean", "cls" or "max" over the tokens.
            average_layers: The number of last layers to average into token vectors (DistilFACE: 4); the token table
                counts as one.
            projection_dim: Output dimensions of a dense layer after the pooling (HPD: 128); 0 means no such layer.
            activation: Activation of the dense layer: "tanh" (HPD) or "linear".
            max_length: Maximum text length in tokens; the encoder's limit applies if it is lower.

        Raises:
            UserError: The encoder cannot be loaded, or an argument does not fit it.
        """
        super().__init__()
        _check(pooling, projection_dim, activation)
        transformer = _load_transformer(encoder)
        assert transformer.tokenizer is not None  # checked by _load_transformer
        if keep_layers:
            transformer.model = _with_layers(transformer.model, list(keep_layers), encoder)
        tokenizer = portable_tokenizer(
            transformer.tokenizer, min(max_length, transformer.max_seq_length or max_length)
        )
        # Padding is masked, so any token will do.
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        self.tokenizer = transformer.processor = tokenizer
        # BERT's pooler is unused; distributed training fails if trainable weights get no gradient.
        for name, weight in transformer.model.named_parameters():
            weight.requires_grad_(not name.startswith("pooler."))

        width = transformer.get_embedding_dimension()
        modules: list[nn.Module] = [transformer]
        if average_layers != 1:
            modules.append(_layer_average(transformer, average_layers, encoder))
        modules.append(Pooling(width, pooling))
        if projection_dim:
            modules.append(Dense(width, projection_dim, activation_function=ACTIVATIONS[activation]()))
        self.model = SentenceTransformer(modules=[*modules, Normalize()], device="cpu")
        self.config = EncoderStudentConfig(
            encoder=encoder,
            embedding_size=projection_dim or width,
            keep_layers=list(keep_layers),
            pooling=pooling,
            average_layers=average_layers,
            activation=activation if projection_dim else "",
        )

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Embed token sequences.

        Args:
            input_ids: (batch, length), int64 token ids.
            attention_mask: (batch, length), 1 for tokens and 0 for padding; all ones if absent.
            **kwargs: Further inputs of the encoder, such as `token_type_ids`.

        Returns:
            `last_hidden_state` (batch, length, width of the encoder): token vectors, averaged over layers;
            `pooler_output` (batch, embedding size): the unit-norm embedding.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        features = self.model({"input_ids": input_ids, "attention_mask": mask, **kwargs})
        return BaseModelOutputWithPooling(
            last_hidden_state=features["token_embeddings"], pooler_output=features["sentence_embedding"]
        )

    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int = 128,
        truncate_dim: int | None = None,
        show_progress_bar: bool = False,
        tokenizer: PreTrainedTokenizerFast | None = None,
    ) -> np.ndarray:
        """Embed texts, like `AsteriskModel.encode`.

        Args:
            texts: One string or many.
            batch_size: Maximum number of texts in a forward pass.
            truncate_dim: The number of leading dimensions to keep.
            show_progress_bar: Show a progress bar.
            tokenizer: Ignored, because an encoder has its own; the argument exists as in `AsteriskModel.encode`.

        Returns:
            Unit-norm float32 embeddings: (dimensions,) for one string, (number of texts, dimensions) for many.
        """
        was_training = self.training
        embeddings = self.model.encode(
            texts if isinstance(texts, str) else list(texts),
            batch_size=batch_size,
            truncate_dim=truncate_dim,
            normalize_embeddings=True,
            show_progress_bar=show_progress_bar,
        )
        self.train(was_training)
        return embeddings

    def set_attn_implementation(self, implementation: str) -> None:
        """Select the attention kernel of the encoder."""
        self.encoder.set_attn_implementation(implementation)

    def num_parameters(self) -> int:
        """Return the number of weights, including unused weights of the encoder."""
        return sum(weight.numel() for weight in self.parameters())

    @property
    def encoder(self) -> PreTrainedModel:
        """The transformers model."""
        return cast(Transformer, self.model[0]).model

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write a sentence-transformers model: Transformer, Pooling, Dense, Normalize and the tokenizer."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def load_encoder_student(arguments: StudentArguments) -> tuple[Any, PreTrainedTokenizerFast]:
    """Load the encoder that `--encoder` names, to train it further.

    Returns:
        An Asterisk, or an [`EncoderStudent`] of any other encoder; and its tokenizer.

    Raises:
        UserError: The encoder cannot be loaded, or an argument does not fit it.
    """
    location = Path(resolve_model(arguments.encoder))
    if model_type(location) == AsteriskConfig.model_type:
        dropouts = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), arguments.dropout)
        model, tokenizer = load_asterisk(arguments.encoder, location, AsteriskModel, **dropouts)  # type: ignore[arg-type]
        assert tokenizer is not None
        return model, tokenizer
    student = EncoderStudent(
        arguments.encoder,
        arguments.keep_layers,
        arguments.encoder_pooling,
        arguments.average_layers,
        arguments.projection_dim,
        arguments.encoder_activation,
        arguments.max_length,
    )
    return student, student.tokenizer


def _check(pooling: str, projection_dim: int, activation: str) -> None:
    for name, value, allowed in (("pooling", pooling, POOLINGS), ("activation", activation, tuple(ACTIVATIONS))):
        if value not in allowed:
            raise UserError(f"The {name} of an encoder must be one of {', '.join(allowed)}, not {value!r}.")
    if projection_dim < 0:
        raise UserError(f"projection_dim must be 0 (no projection) or more, not {projection_dim}.")


def _load_transformer(name: str) -> Transformer:
    with loading(f"The encoder {name}"):
        transformer = load_sentence_transformer(resolve_model(name), device="cpu")[0]
    if not isinstance(transformer, Transformer) or transformer.tokenizer is None:
        raise UserError(f"{name} is not a transformer encoder of text; give one, such as a BERT or a MiniLM.")
    if broken := [key for key, weight in transformer.named_parameters() if not weight.isfinite().all()]:
        raise UserError(f"The encoder {name} cannot be loaded: {len(broken)} weights are not finite: {broken[0]}.")
    return transformer


def _with_layers(model: PreTrainedModel, kept: list[int], name: str) -> PreTrainedModel:
    """Keep some layers, and rebuild the model from its changed configuration, as a later load would."""
    config = model.config
    count = config.num_hidden_layers
    stacks = [path for path, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    if len(stacks) != 1:
        raise UserError(f"The layers of {name} ({type(model).__name__}) cannot be identified; keep all of them.")
    if kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= count:
        raise UserError(
            f"The layers to keep of {name} must be distinct numbers from 0 to {count - 1} in ascending order, "
            f"not {kept}."
        )
    layers = cast(nn.ModuleList, model.get_submodule(stacks[0]))
    model.set_submodule(stacks[0], nn.ModuleList([layers[index] for index in kept]))
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in kept]
    rebuilt = type(model)(config)
    try:
        rebuilt.load_state_dict(model.state_dict())
    except RuntimeError:  # ModernBERT's first layer differs from the rest
        raise UserError(f"The layers {kept} of {name} do not fit their new positions; keep layer 0 too.") from None
    return rebuilt.eval()


def _layer_average(transformer: Transformer, count: int, name: str) -> WeightedLayerPooling:
    """Make a module for the unweighted mean of the last `count` layers."""
    layers = transformer.config.num_hidden_layers
    if not 1 <= count <= layers + 1:
        raise UserError(
            f"average_layers must lie between 1 and {layers + 1} (the {layers} layers of {name} and its token table), "
            f"not {count}."
        )
    transformer.config.output_hidden_states = True
    average = WeightedLayerPooling(
        transformer.get_embedding_dimension(), num_hidden_layers=layers, layer_start=layers + 1 - count
    )
    return average.requires_grad_(False)
