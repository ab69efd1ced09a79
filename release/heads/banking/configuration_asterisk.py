"""The sizes and choices that make an Asterisk model."""

from typing import Any

from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

AUTO_MAP = {
    "AutoConfig": "configuration_asterisk.AsteriskConfig",
    "AutoModel": "modeling_asterisk.AsteriskModel",
    "AutoModelForSequenceClassification": "modeling_asterisk.AsteriskForSequenceClassification",
}

POSITION_ENCODINGS = ("learned", "none")
POOLINGS = ("mean", "cls", "last")

POSITIVE_INTEGERS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "projection_dim",
    "max_position_embeddings",
    "classifier_hidden_size",
)
# Beyond these a configuration is damaged or hostile: it would take hours to build, or more memory than there is.
LARGEST = 100_000_000
MOST_LAYERS = 1_000
MOST_LABELS = 1_000_000
MOST_PARAMETERS = 1_000_000_000
PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
POSITIVE_NUMBERS = ("layer_norm_eps", "initializer_range", "temperature")


class AsteriskConfig(PreTrainedConfig):
    r"""Configuration of [`AsteriskModel`] and [`AsteriskForSequenceClassification`].

    The defaults are the model of "Keep it Simple" (Semenov 2024, arXiv 2411.05691): 14,019,584 parameters.

    Args:
        vocab_size: Rows of the token table. The default is GPT-2's 50,257 entries plus [MASK] and [PAD].
        hidden_size: Width of the token vectors and of every layer.
        num_hidden_layers: Number of pre-norm transformer blocks.
        num_attention_heads: Attention heads of each block; must divide `hidden_size`.
        intermediate_size: Width of the feed-forward network inside a block.
        projection_dim: Dimensions of the embedding.
        max_position_embeddings: Longest input in tokens, if positions are learned.
        position_encoding: "learned" adds a position vector to each token; "none" leaves order to causal attention.
        is_causal: Whether a token attends only to itself and to earlier tokens.
        hidden_act: Activation of the feed-forward network; a name known to `transformers.activations.ACT2FN`.
        hidden_dropout_prob: Dropout after the embeddings, the attention and the feed-forward network.
        attention_probs_dropout_prob: Dropout on the attention weights.
        layer_norm_eps: Epsilon of every LayerNorm.
        initializer_range: Standard deviation of the token and position tables at initialisation.
        pooling: How token vectors become one embedding: "mean" over the attention mask, "cls" (first token) or
            "last" (last token of the mask).
        classifier_hidden_size: Width of the classification head's dense layer.
        classifier_dropout: Dropout inside the classification head.
        temperature: What the classification head's outputs are divided by to give logits, so that their softmax (or
            sigmoid) is a calibrated probability (Guo et al. 2017, arXiv 1706.04599).
        thresholds: Of a classifier with several labels per text: the probability from which each label is given, in
            the order of `id2label`. Logits do not depend on them.
        none_threshold: Of a classifier with one label per text: the probability below which the most probable label
            should not be trusted. Logits do not depend on it.

    Raises:
        ValueError: A field has a value that no model can have; the message names the field and what is allowed.
    """

    model_type = "asterisk"

    vocab_size: int = 50259
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
    intermediate_size: int = 512
    projection_dim: int = 256
    max_position_embeddings: int = 128
    position_encoding: str = "learned"
    is_causal: bool = False
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pooling: str = "mean"
    classifier_hidden_size: int = 256
    classifier_dropout: float = 0.1
    temperature: float = 1.0
    thresholds: list[float] | None = None
    none_threshold: float | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        # A saved folder holds its own code, so its map never points to the repository it was loaded from.
        kwargs["auto_map"] = dict(AUTO_MAP)
        # Before a name is made for each label.
        labels = kwargs.get("num_labels")
        if isinstance(labels, int) and labels > MOST_LABELS:
            raise ValueError(f"AsteriskConfig.num_labels must be at most {MOST_LABELS:,}, not {labels!r}.")
        super().__post_init__(**kwargs)
        self._check_fields()
        self._check_size()

    def _check_fields(self) -> None:
        for field in POSITIVE_INTEGERS:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"AsteriskConfig.{field} must be a whole number of at least 1, not {value!r}.")
            most = MOST_LAYERS if field == "num_hidden_layers" else LARGEST
            if value > most:
                raise ValueError(f"AsteriskConfig.{field} must be at most {most:,}, not {value!r}.")
        for field in PROBABILITIES:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ValueError(
                    f"AsteriskConfig.{field} must be a number from 0 up to, not including, 1, not {value!r}."
                )
        for field in POSITIVE_NUMBERS:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"AsteriskConfig.{field} must be a number above 0, not {value!r}.")
        for field, value in (("thresholds", self.thresholds), ("none_threshold", [self.none_threshold])):
            if value not in (None, [None]) and not (isinstance(value, (list, tuple)) and all(map(_is_share, value))):
                kind = "numbers" if field == "thresholds" else "a number"
                raise ValueError(f"AsteriskConfig.{field} must be {kind} from 0 to 1, not {getattr(self, field)!r}.")
        if not isinstance(self.is_causal, bool):
            raise ValueError(f"AsteriskConfig.is_causal must be true or false, not {self.is_causal!r}.")
        for field, allowed in (
            ("position_encoding", POSITION_ENCODINGS),
            ("pooling", POOLINGS),
            ("hidden_act", sorted(ACT2FN)),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"AsteriskConfig.{field} must be one of {', '.join(allowed)}, not {value!r}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"AsteriskConfig.num_attention_heads must divide hidden_size ({self.hidden_size}) without remainder, "
                f"not {self.num_attention_heads}."
            )

    def _check_size(self) -> None:
        """Sizes that are possible one by one may be too large together."""
        width, inner = self.hidden_size, self.intermediate_size
        tables = (self.vocab_size + self.max_position_embeddings) * width
        layers = self.num_hidden_layers * (4 * width * width + 2 * width * inner)
        head = self.classifier_hidden_size * (self.projection_dim + self.num_labels)  # type: ignore[operator]
        parameters = tables + layers + width * self.projection_dim + head
        if parameters > MOST_PARAMETERS:
            raise ValueError(
                f"The sizes of this AsteriskConfig make {parameters:,} parameters, {tables:,} of them in its tables; "
                f"there must be at most {MOST_PARAMETERS:,}."
            )


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


__all__ = ["AsteriskConfig"]
