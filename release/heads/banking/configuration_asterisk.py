"""The configuration of Asterisk models."""

from collections.abc import Callable
from typing import Any, SupportsIndex

from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

AUTO_MAP = {
    "AutoConfig": "configuration_asterisk.AsteriskConfig",
    "AutoModel": "modeling_asterisk.AsteriskModel",
    "AutoModelForSequenceClassification": "modeling_asterisk.AsteriskForSequenceClassification",
}

CHOICES = {
    "position_encoding": ("learned", "none"),
    "pooling": ("mean", "cls", "last"),
    "hidden_act": tuple(sorted(ACT2FN)),
}

# The largest value of each size. A damaged or hostile configuration fails before memory is allocated for it.
SIZES = {
    "vocab_size": 100_000_000,
    "hidden_size": 100_000_000,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 100_000_000,
    "intermediate_size": 100_000_000,
    "projection_dim": 100_000_000,
    "max_position_embeddings": 100_000_000,
    "classifier_hidden_size": 100_000_000,
}
MOST_LABELS = 1_000_000
MOST_PARAMETERS = 1_000_000_000


class AsteriskConfig(PreTrainedConfig):
    r"""Configuration of [`AsteriskModel`] and [`AsteriskForSequenceClassification`].

    The defaults give the model of "Keep it Simple" (Semenov 2024, arXiv 2411.05691) with 14,019,584 parameters.

    Args:
        vocab_size: Rows of the token table. The default is GPT-2's 50,257 entries plus [MASK] and [PAD].
        hidden_size: Width of the token vectors and of every layer.
        num_hidden_layers: Number of pre-norm transformer blocks; 0 leaves the token table alone.
        num_attention_heads: Attention heads per block; must divide `hidden_size`.
        intermediate_size: Width of the feed-forward network.
        projection_dim: Dimensions of the embedding. None leaves the projection out: the embedding is the pooled output
            of the final norm, `hidden_size` wide.
        max_position_embeddings: Longest input in tokens, if positions are learned.
        position_encoding: "learned" adds a position vector to each token; "none" leaves order to causal attention.
        is_causal: Whether a token attends only to itself and to earlier tokens.
        teacher_spaces: The teachers whose space `encode(space=...)` can map to: pairs of a name and its dimensions.
        hidden_act: Activation of the feed-forward network; a name in `transformers.activations.ACT2FN`.
        hidden_dropout_prob: Dropout after the embeddings, the attention and the feed-forward network.
        attention_probs_dropout_prob: Dropout on the attention weights.
        layer_norm_eps: Epsilon of every LayerNorm.
        final_norm: Whether a LayerNorm follows the last layer.
        exit_layers: Depths at which the model has an exit: an embedding after this many layers; 0 is the token table.
            `from_pretrained(..., num_hidden_layers=1)` and `truncated(1)` return the exit after layer 1 as a model of
            its own (Starbucks, arXiv 2410.13230; 2D Matryoshka, arXiv 2402.14776).
        initializer_range: Standard deviation of the token and position tables at initialisation.
        pooling: How token vectors become one embedding: "mean" over the attention mask, "cls" (first token) or
            "last" (last token of the mask).
        classifier_hidden_size: Width of the classification head's dense layer.
        classifier_dropout: Dropout inside the classification head.
        temperature: Divisor of the classification head's outputs, so that the softmax (or sigmoid) of the logits is a
            calibrated probability (Guo et al. 2017, arXiv 1706.04599).
        thresholds: Multi-label classifiers: the lowest probability at which each label is assigned, in the order of
            `id2label`. Logits do not depend on them.
        none_threshold: Single-label classifiers: the probability below which the top label should not be trusted.
            Logits do not depend on it.

    Raises:
        ValueError: A field has an invalid value; the message names the field and what is allowed.
    """

    model_type = "asterisk"

    vocab_size: int = 50259
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 2
    intermediate_size: int = 512
    projection_dim: int | None = 256
    max_position_embeddings: int = 128
    position_encoding: str = "learned"
    is_causal: bool = False
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-5
    final_norm: bool = True
    exit_layers: list[int] | None = None
    teacher_spaces: list[tuple[str, int]] | None = None
    initializer_range: float = 0.02
    pooling: str = "mean"
    classifier_hidden_size: int = 256
    classifier_dropout: float = 0.1
    temperature: float = 1.0
    thresholds: list[float] | None = None
    none_threshold: float | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        # A saved folder holds its own code, so the map never points to the repository it was loaded from.
        kwargs["auto_map"] = dict(AUTO_MAP)
        # The base class creates a name for each label, so their number is checked first.
        labels = kwargs.get("num_labels")
        if isinstance(labels, int) and labels > MOST_LABELS:
            raise ValueError(f"AsteriskConfig.num_labels must be at most {MOST_LABELS:,}, not {labels!r}.")
        super().__post_init__(**kwargs)
        self._check_sizes()
        for field in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            self._require(
                field, lambda value: _is_number(value) and 0 <= value < 1, "be a number from 0 up to, not including, 1"
            )
        for field in ("layer_norm_eps", "initializer_range", "temperature"):
            self._require(field, lambda value: _is_number(value) and 0 < value < float("inf"), "be a number above 0")
        self._require("thresholds", _are_probabilities, "be a list of numbers from 0 to 1")
        self._require(
            "none_threshold", lambda value: value is None or _are_probabilities([value]), "be a number from 0 to 1"
        )
        for field in ("is_causal", "final_norm"):
            self._require(field, lambda value: isinstance(value, bool), "be true or false")
        self._require("teacher_spaces", _are_spaces, "be a list of pairs of a name and a number of dimensions")
        self._require("exit_layers", _are_depths, "be a list of different whole numbers from 0 up")
        for field, choices in CHOICES.items():
            self._require(field, choices.__contains__, f"be one of {', '.join(choices)}")

    @property
    def embedding_size(self) -> int:
        """Dimensions of the embedding."""
        return self.projection_dim or self.hidden_size

    def _require(self, field: str, accepts: Callable[[Any], bool], wanted: str) -> None:
        value = getattr(self, field)
        if not accepts(value):
            raise ValueError(f"AsteriskConfig.{field} must {wanted}, not {value!r}.")

    def _check_sizes(self) -> None:
        for field, most in SIZES.items():
            value = getattr(self, field)
            if field == "projection_dim" and value is None:
                continue
            if isinstance(value, SupportsIndex) and not isinstance(value, bool):
                setattr(self, field, value.__index__())  # NumPy integers cannot be saved as JSON
            least = int(field != "num_hidden_layers")
            whole = f"be a whole number of at least {least}"
            self._require(field, lambda value: type(value) is int, whole)
            self._require(field, range(least, max(value, most) + 1).__contains__, whole)
            self._require(field, range(most + 1).__contains__, f"be at most {most:,}")
        width = self.hidden_size
        self._require("num_attention_heads", lambda heads: width % heads == 0, f"divide hidden_size ({width})")
        layer = 4 * width**2 + 2 * width * self.intermediate_size
        parameters = (self.vocab_size + self.max_position_embeddings + self.embedding_size) * width
        parameters += self.num_hidden_layers * layer
        parameters += self.classifier_hidden_size * (self.embedding_size + (self.num_labels or 0))
        if parameters > MOST_PARAMETERS:
            raise ValueError(
                f"The sizes of this AsteriskConfig make {parameters:,} parameters; there must be at most "
                f"{MOST_PARAMETERS:,}."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_depths(values: Any) -> bool:
    if values is None:
        return True
    return (
        isinstance(values, (list, tuple))
        and len(set(values)) == len(values)
        and all(type(value) is int and value >= 0 for value in values)
    )


def _are_spaces(values: Any) -> bool:
    if values is None:
        return True
    return isinstance(values, (list, tuple)) and all(
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and isinstance(pair[0], str)
        and type(pair[1]) is int
        and 0 < pair[1] <= 100_000
        for pair in values
    )


def _are_probabilities(values: Any) -> bool:
    if values is None:
        return True
    return isinstance(values, (list, tuple)) and all(_is_number(value) and 0 <= value <= 1 for value in values)


__all__ = ["AsteriskConfig"]
