"""Asterisk: a tiny GPT-style text-embedding model, and a classifier on top of it.

Architecture: "Keep it Simple" (Semenov 2024, arXiv 2411.05691). Token and learned position embeddings, pre-norm blocks
(bidirectional attention, GELU feed-forward), a final LayerNorm and a projection. The projection is applied to every
token. For mean pooling this equals projecting the pooled vector, so consumers that mean-pool `last_hidden_state` and
normalise get the model's embedding.
"""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

import torch
from torch import multiprocessing, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple, logging
from transformers.utils.output_capturing import capture_outputs

from .configuration_asterisk import AsteriskConfig

# `encode` tokenises and sorts this many texts at once: enough to fill batches evenly, few enough to keep memory flat.
ENCODE_CHUNK = 16_384

# Tokens of one forward pass of `encode` on a CPU, padding included: few enough to stay in the caches.
CPU_PASS_TOKENS = 2_048

logger = logging.get_logger(__name__)

# The arguments of `from_pretrained` that locate a repository; the tokenizer is loaded with the same arguments.
LOCATION = ("revision", "token", "cache_dir", "subfolder", "local_files_only", "force_download", "proxies")

ENCODE_ARGUMENTS = (
    "texts, batch_size, truncate_dim, space, normalize_embeddings, prompt, precision, ranges, convert_to_numpy, "
    "convert_to_tensor, show_progress_bar, device and tokenizer"
)

# The precisions of `encode`: one byte per dimension, and one bit per dimension.
SCALAR, BINARY = ("int8", "uint8"), ("binary", "ubinary")

# The process that imported this module; a process forked from it has another id.
IMPORTED_BY = multiprocessing.current_process().pid


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention by plain matrix products; the only implementation that returns its weights."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    dropped = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(dropped, value).transpose(1, 2).contiguous(), weights


def pool(token_vectors: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """Pool token vectors into one vector per row.

    Args:
        token_vectors: (batch, length, dimensions), any floating dtype.
        attention_mask: (batch, length), non-zero for tokens; with None or a 4-D mask all positions are tokens.
        pooling: "mean", "cls" or "last".

    Returns:
        (batch, dimensions), float32, since sums and norms overflow in half precision. Rows without tokens are zeros.
    """
    vectors = token_vectors.float()
    if attention_mask is None or attention_mask.dim() != 2:
        mask = vectors.new_ones(vectors.shape[:2])
    else:
        mask = (attention_mask != 0).to(vectors)
    counts = mask.sum(dim=1, keepdim=True)
    if pooling == "mean":
        return (vectors * mask.unsqueeze(-1)).sum(dim=1) / counts.clamp(min=1)
    positions = torch.arange(mask.shape[1], device=mask.device)
    # argmax finds the first token of the mask, or the last one if the mask is weighted by position.
    index = (mask if pooling == "cls" else mask * (positions + 1)).argmax(dim=1)
    return vectors[torch.arange(vectors.shape[0], device=vectors.device), index] * (counts > 0)


class AsteriskEmbeddings(nn.Module):
    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.max_positions = config.max_position_embeddings
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = (
            nn.Embedding(config.max_position_embeddings, config.hidden_size)
            if config.position_encoding == "learned"
            else None
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: torch.LongTensor | None,
        position_ids: torch.LongTensor | None,
        inputs_embeds: torch.Tensor | None,
    ) -> torch.Tensor:
        hidden_states = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.embed_positions is not None:
            if position_ids is None:
                length = hidden_states.shape[1]
                self._check_positions(length)
                positions = torch.arange(length, device=hidden_states.device)
            else:
                positions = position_ids
                # Not on a GPU, where reading the largest position would stall every call.
                if not torch.compiler.is_compiling() and positions.device.type == "cpu" and positions.numel():
                    self._check_positions(int(positions.max()) + 1)
            hidden_states = hidden_states + self.embed_positions(positions)
        return self.dropout(hidden_states)

    def _check_positions(self, length: int) -> None:
        if length > self.max_positions:
            raise ValueError(
                f"The input has {length} positions, but this Asterisk has learned only {self.max_positions} "
                f"(config.max_position_embeddings): truncate it, e.g. tokenizer(..., truncation=True, "
                f"max_length={self.max_positions})."
            )


class AsteriskAttention(nn.Module):
    def __init__(self, config: AsteriskConfig, layer_idx: int):
        super().__init__()
        self.config = config
        # vLLM and SGLang select their own attention layer by this number.
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.is_causal = config.is_causal
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        batch, length, _ = hidden_states.shape
        query, key, value = (
            part.view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)
            for part in self.qkv_proj(hidden_states).chunk(3, dim=-1)
        )
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(output.reshape(hidden_states.shape)), weights


class AsteriskMLP(nn.Module):
    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act_fn = ACT2FN[config.hidden_act]
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.up_proj(hidden_states)))


class AsteriskLayer(GradientCheckpointingLayer):
    def __init__(self, config: AsteriskConfig, layer_idx: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = AsteriskAttention(config, layer_idx)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = AsteriskMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any) -> torch.Tensor:
        attended, _ = self.self_attn(self.attention_norm(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


class AsteriskExit(nn.Module):
    """An embedding after some of the layers: a norm and a projection, or, at depth 0, a weight per token."""

    token_mask: torch.Tensor

    def __init__(self, config: AsteriskConfig, depth: int):
        super().__init__()
        self.depth = depth
        if depth:
            self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        else:
            # A weight per token and a linear map fold into the token table, so this exit is a static model. Static
            # models read no special tokens, whose mask is 0.
            self.token_weight = nn.Embedding(config.vocab_size, 1)
            self.register_buffer("token_mask", torch.ones(config.vocab_size, 1))
        self.projection: nn.Module = nn.Identity()
        if config.projection_dim or not depth:
            self.projection = nn.Linear(config.hidden_size, config.embedding_size, bias=depth > 0)

    def forward(self, hidden_states: torch.Tensor, input_ids: Any = None) -> torch.Tensor:
        """Return token vectors before the projection: (batch, length, hidden_size)."""
        if self.depth:
            return self.norm(hidden_states)
        return hidden_states * self.token_weight(input_ids) * nn.functional.embedding(input_ids, self.token_mask)


@dataclass
class AsteriskOutput(BaseModelOutputWithPooling):
    """The output of [`AsteriskModel`].

    Attributes:
        exit_embeddings: The unit-norm embedding of each exit, (batch, embedding size), in the order of
            `config.exit_layers`, on request.
    """

    exit_embeddings: tuple[torch.Tensor, ...] | None = None


class AsteriskPreTrainedModel(PreTrainedModel):
    config: AsteriskConfig
    config_class = AsteriskConfig
    base_model_prefix = "asterisk"
    supports_gradient_checkpointing = True
    _no_split_modules = ["AsteriskEmbeddings", "AsteriskLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": AsteriskLayer, "attentions": AsteriskAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw tables from a normal distribution and matrices by Xavier-uniform, as in the paper; zero the biases."""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, AsteriskExit):
            if not module.depth:
                init.ones_(module.token_weight.weight)
                init.ones_(module.token_mask)
        else:
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights from safetensors only, check them, and load the tokenizer from the same place.

        The arguments are those of transformers. The check is skipped if the caller asks for the loading info or
        passes a state dict. A missing or damaged tokenizer raises no error here; `encode` then names the reason.
        `num_hidden_layers` may be one of the stored `exit_layers`: the model is then that exit, see `truncated`.

        Raises:
            ValueError: Weights of the backbone are missing, unknown or not finite.
        """
        location = pretrained_model_name_or_path
        returns_info = kwargs.get("output_loading_info", False)
        options = {name: kwargs[name] for name in LOCATION if name in kwargs}
        if "num_hidden_layers" in kwargs and "config" not in kwargs:
            found: Any = cls.config_class.from_pretrained(location, return_unused_kwargs=True, **kwargs)
            kwargs = {**options, **found[1], "config": found[0]}
        config: Any = kwargs.get("config")
        if config is not None and config.num_hidden_layers in (config.exit_layers or ()):
            # An exit is asked for: load the whole model and cut it.
            stored = cls.config_class.from_pretrained(location, **options)
            kwargs["config"] = copy.deepcopy(config)
            kwargs["config"].num_hidden_layers = stored.num_hidden_layers
            whole: Any = cls.from_pretrained(location, *args, **kwargs)
            model, *info = whole if returns_info else (whole,)
            cut = model.truncated(config.num_hidden_layers)
            return (cut, *info) if returns_info else cut
        # Read now, since transformers renames the configuration after the weights.
        config_name = getattr(kwargs.get("config"), "name_or_path", None)
        loaded: Any = super().from_pretrained(
            location, *args, **{"use_safetensors": True, **kwargs, "output_loading_info": True}
        )
        model, info = loaded
        if not returns_info and kwargs.get("state_dict") is None:
            check_weights(model, info, own_config=config_name is None or str(config_name) == str(location))
        if any(name.startswith("classifier.out_proj") for name, *_ in info["mismatched_keys"]):
            # The calibration belongs to the stored head, which a new one replaces.
            model.config.temperature, model.config.thresholds, model.config.none_threshold = 1.0, None, None
        if location is not None:
            model.base_model.load_tokenizer(location, **options)
        return (model, info) if returns_info else model


def check_weights(model: AsteriskPreTrainedModel, info: dict[str, Any], own_config: bool = True) -> None:
    """Check weights after loading.

    Args:
        model: The loaded model.
        info: The loading info of `from_pretrained`.
        own_config: Whether the configuration came with the weights and so says whether they include a head.

    Raises:
        ValueError: Weights are missing, unknown or not finite.
    """
    # A new head may be added to a backbone, and a backbone taken out of a classifier.
    has_head = own_config and type(model).__name__ in (model.config.architectures or [])
    missing = [name for name in info["missing_keys"] if has_head or not name.startswith("classifier.")]
    unknown = [name for name in info["unexpected_keys"] if not name.startswith("classifier.")]
    # Quantised weights are subclasses of tensors, most of which have no isfinite.
    plain = [(name, weight) for name, weight in model.named_parameters() if type(weight) is nn.Parameter]
    broken = [name for name, weight in plain if not weight.is_meta and not weight.float().isfinite().all()]
    for names, problem in ((missing, "are missing"), (unknown, "are unknown"), (broken, "are not finite")):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(f"Weights of {model.name_or_path} {problem}: {shown}.")


def check_texts(texts: Any) -> list[str]:
    """Return one text or many as a list.

    Raises:
        TypeError: An item is not a string; the message says what would be right.
    """
    if isinstance(texts, str):
        return [texts]
    is_refused = isinstance(texts, (bytes, Mapping, set, frozenset)) or hasattr(texts, "columns")
    if is_refused or not isinstance(texts, Iterable):
        raise TypeError(f"encode takes a string or many, not {type(texts).__name__}; {advice(texts)}.")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"encode takes strings, but text {index} is of type {type(text).__name__}; {advice(text)}."
            )
    return texts


def advice(value: Any) -> str:
    """Say how to get texts from a value."""
    if isinstance(value, bytes):
        return "decode it first, e.g. with .decode()"
    if isinstance(value, Mapping) or hasattr(value, "columns"):
        return 'select the texts first, e.g. data["text"]'
    if isinstance(value, (set, frozenset)):
        return "a set has no order, so give a list, e.g. sorted(texts)"
    if value is None or (isinstance(value, float) and value != value):
        return "drop or fill in missing values"
    return "give a string or a list of strings"


def as_integer(name: str, value: Any) -> int:
    """Return a whole number of any type, such as NumPy's, as an integer; raise a TypeError for anything else."""
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be a whole number, not {value!r}.")
    return value.__index__()


def merge_windows(windows: list[Any], vectors: list[torch.Tensor], overlap: int) -> tuple[Any, Any]:
    """Join the windows of a text, and average the vectors of the tokens that lie in two.

    Args:
        windows: The encodings of the windows.
        vectors: The token vectors of each window: (length with padding, dimensions), float32.
        overlap: The number of tokens that two neighbouring windows share.

    Returns:
        The arrays of `encode_tokens`.
    """
    kept = [[index for index, special in enumerate(each.special_tokens_mask) if not special] for each in windows]
    places = [[window.offsets[row] for row in rows] for window, rows in zip(windows, kept, strict=True)]
    length = sum(map(len, kept)) - overlap * (len(windows) - 1)
    sums, counts = torch.zeros(length, vectors[0].shape[1]), torch.zeros(length, 1)
    offsets, start = torch.zeros(length, 2, dtype=torch.long), 0
    # The tokenizer may cut windows from the end of the text.
    for place, rows, each in sorted(zip(places, kept, vectors, strict=True), key=lambda item: item[0][:1]):
        stop = start + len(rows)
        sums[start:stop] += each[rows]
        counts[start:stop] += 1
        offsets[start:stop] = torch.tensor(place, dtype=torch.long).view(-1, 2)
        start = stop - overlap
    return (sums / counts).numpy(), offsets.numpy()


def quantize(embeddings: torch.Tensor, precision: str, ranges: Any) -> torch.Tensor:
    """Quantise float32 embeddings (number, dimensions) to bytes or bits; see [`AsteriskModel.encode`]."""
    if precision in BINARY:
        bits = nn.functional.pad(embeddings > 0, (0, -embeddings.shape[1] % 8)).unflatten(1, (-1, 8))
        levels = (bits * torch.tensor([128, 64, 32, 16, 8, 4, 2, 1])).sum(dim=2)
    else:
        low, high = embeddings.aminmax(dim=0) if ranges is None else torch.as_tensor(ranges, dtype=torch.float32)
        steps = (high - low) / 255
        levels = ((embeddings - low) / steps.where(steps != 0, 1)).floor().clamp(0, 255)
    return levels.to(torch.uint8) if precision.startswith("u") else (levels - 128).to(torch.int8)


class AsteriskModel(AsteriskPreTrainedModel):
    """The embedding model. `pooler_output` is the sentence embedding; `encode` is the short way to it."""

    def __init__(self, config: AsteriskConfig):
        super().__init__(config)
        self.embeddings = AsteriskEmbeddings(config)
        self.layers = nn.ModuleList([AsteriskLayer(config, index) for index in range(config.num_hidden_layers)])
        width = config.hidden_size
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps) if config.final_norm else nn.Identity()
        self.projection = nn.Linear(width, config.projection_dim) if config.projection_dim else nn.Identity()
        self.exits = nn.ModuleDict({str(depth): AsteriskExit(config, depth) for depth in config.exit_layers or ()})
        for index, (_, size) in enumerate(config.teacher_spaces or ()):
            self.register_buffer(f"teacher_map_{index}", torch.zeros(config.embedding_size, size))
        self.gradient_checkpointing = False
        self.tokenizer: PreTrainedTokenizerFast | None = None
        self.tokenizer_problem = "the model was not loaded from a folder or the Hub"
        self.post_init()

    def load_tokenizer(self, location: Any, **options: Any) -> None:
        """Load the tokenizer of a folder or Hub repository; if that fails, keep the reason for `encode`.

        Args:
            location: A folder or Hub id.
            options: Arguments of the tokenizer's `from_pretrained`, such as `revision`, `token` and `cache_dir`.
        """
        self.tokenizer = None
        try:
            # The class is named, so that no code of the repository can be asked for.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(location, **options)
            largest = max(tokenizer.get_vocab().values(), default=0)
            if largest >= self.config.vocab_size:
                raise ValueError(f"it has a token of id {largest}, the token table only {self.config.vocab_size} rows")
            self.tokenizer = tokenizer
        except Exception as error:  # missing or damaged files and a missing network raise many kinds
            reason = " ".join(str(error).split())[:300]
            self.tokenizer_problem = f"the tokenizer of {location} cannot be loaded: {reason}"

    @torch.no_grad()
    def truncated(self, depth: int) -> "AsteriskModel":
        """Return the exit at a depth as a model of its own, with copies of the weights.

        At depth 0 the model is static: weights and projection are folded into the token table, and neither position
        nor norm follows.

        Args:
            depth: One of `config.exit_layers`, or `config.num_hidden_layers` for a copy of the whole.

        Raises:
            ValueError: There is no exit at this depth.
        """
        whole = self.config.num_hidden_layers
        if depth != whole and str(depth) not in self.exits:
            depths = ", ".join(map(str, sorted([*(self.config.exit_layers or ()), whole])))
            raise ValueError(f"This Asterisk has no exit at depth {depth!r}; its depths are {depths}.")
        config = copy.deepcopy(self.config)
        config.num_hidden_layers = depth
        config.exit_layers = [exit_depth for exit_depth in config.exit_layers or () if exit_depth < depth] or None
        weights = self.state_dict()
        if depth == 0:
            source: Any = self.exits["0"]
            config.position_encoding, config.final_norm, config.projection_dim = "none", False, None
            config.hidden_size, config.num_attention_heads = self.config.embedding_size, 1
            table = weights["embeddings.embed_tokens.weight"] * source.token_weight.weight * source.token_mask
            maps = {name: weight for name, weight in weights.items() if name.startswith("teacher_map_")}
            weights = {"embeddings.embed_tokens.weight": source.projection(table), **maps}
        elif depth != whole:
            kept = ("embeddings.", "teacher_map_", *(f"layers.{index}." for index in range(depth)))
            kept += tuple(f"exits.{exit_depth}." for exit_depth in config.exit_layers or ())
            exit_weights = {name: weight for name, weight in weights.items() if name.startswith(f"exits.{depth}.")}
            weights = {name: weight for name, weight in weights.items() if name.startswith(kept)}
            weights |= {name.removeprefix(f"exits.{depth}."): weight for name, weight in exit_weights.items()}
        model = AsteriskModel(config)
        model.to(device=self.device, dtype=self.dtype)  # type: ignore[call-arg]
        model.load_state_dict(weights)
        model.tokenizer, model.tokenizer_problem = self.tokenizer, self.tokenizer_problem
        return model.train(self.training)

    # The last layer's output is not `last_hidden_state`: the final norm and the projection follow it.
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        project_tokens: bool = True,
        output_exits: bool = False,
        **kwargs: Any,
    ) -> AsteriskOutput:
        r"""Embed token sequences.

        Args:
            input_ids: (batch, length), int64 token ids.
            attention_mask: (batch, length), 1 for tokens and 0 for padding; all ones if absent.
            position_ids: (batch, length), int64; counted from 0 if absent. Ignored if positions are not learned.
            inputs_embeds: (batch, length, hidden_size), instead of `input_ids`.
            project_tokens: Whether to compute `last_hidden_state`; `pooler_output` does not need it.
            output_exits: Whether to compute `exit_embeddings`.

        Returns:
            `last_hidden_state` (batch, length, embedding size): projected token vectors; `pooler_output`
            (batch, embedding size): the pooled, unit-norm embedding, zeros for a row that is all padding;
            `exit_embeddings`, `hidden_states` and `attentions` (eager attention only) on request.

        Raises:
            ValueError: Neither or both of `input_ids` and `inputs_embeds` are given, or a position lies beyond
                `config.max_position_embeddings`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        depths = self.config.exit_layers or () if output_exits else ()
        if 0 in depths and input_ids is None:
            raise ValueError("The exit at depth 0 needs input_ids.")
        states: dict[int, torch.Tensor] = {}
        hidden_states = self._contextualize(input_ids, attention_mask, position_ids, inputs_embeds, states, **kwargs)
        exit_embeddings = []
        for depth in depths:
            exit_module: Any = self.exits[str(depth)]
            source = states[depth] if depth else self.embeddings.embed_tokens(input_ids)  # type: ignore[arg-type]
            vectors = self._pool(exit_module(source, input_ids), attention_mask, exit_module.projection)
            exit_embeddings.append(nn.functional.normalize(vectors, dim=-1).to(hidden_states.dtype))
        pooled = nn.functional.normalize(self._pool(hidden_states, attention_mask, self.projection), dim=-1)
        return AsteriskOutput(
            last_hidden_state=self.projection(hidden_states) if project_tokens else None,
            pooler_output=pooled.to(hidden_states.dtype),  # type: ignore[arg-type]
            exit_embeddings=tuple(exit_embeddings) if output_exits else None,
        )

    def _contextualize(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        states: dict[int, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the token vectors after the final norm: (batch, length, hidden_size); fill `states` by depth."""
        hidden_states = self.embeddings(input_ids, position_ids, inputs_embeds)
        if self.config.is_causal:
            layer_mask = create_causal_mask(
                config=self.config,
                inputs_embeds=hidden_states,
                attention_mask=attention_mask,
                past_key_values=None,
                position_ids=position_ids,
            )
        else:
            layer_mask = create_bidirectional_mask(
                config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask
            )
        # Attention cannot process a batch without tokens: empty texts without special tokens.
        for depth, layer in enumerate(self.layers, 1):
            if hidden_states.numel():
                hidden_states = layer(hidden_states, layer_mask, position_ids=position_ids, **kwargs)
            if states is not None:
                states[depth] = hidden_states
        return self.norm(hidden_states)

    def _pool(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, projection: nn.Module
    ) -> torch.Tensor:
        """Pool, then project: (batch, embedding size), float32. Pooling is linear, so the order does not matter."""
        pooled = pool(hidden_states, attention_mask, self.config.pooling)
        projected = projection(pooled.to(hidden_states.dtype)).float()
        if attention_mask is not None and attention_mask.dim() == 2:
            # The projection turns a row without tokens into its bias instead of zeros.
            projected = projected * attention_mask.any(dim=1, keepdim=True)
        return projected

    @torch.no_grad()
    def encode(
        self,
        texts: str | Iterable[str],
        batch_size: int = 128,
        *,
        truncate_dim: int | None = None,
        space: str | None = None,
        normalize_embeddings: bool = True,
        prompt: str | None = None,
        precision: str = "float32",
        ranges: Any = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = False,
        device: Any = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
        **unknown: Any,
    ) -> Any:
        """Embed texts. The arguments have the names and meanings of `SentenceTransformer.encode`.

        Args:
            texts: One string or any iterable of strings. Texts longer than the model's positions are truncated. A
                lone surrogate counts as U+FFFD.
            batch_size: Largest number of texts in a forward pass. On a CPU, a pass holds at most 2,048 tokens, too.
            truncate_dim: Number of leading dimensions to keep.
            space: Map the embeddings to a teacher's space, to search an index of the teacher's vectors: a name in
                `config.teacher_spaces`, or "teacher" for the first.
            normalize_embeddings: Scale embeddings to unit length, after truncation.
            prompt: Text to put before each text.
            precision: "float32"; "int8" or "uint8", 256 equal steps between the `ranges`; "binary" or "ubinary", the
                signs, eight to a byte. Equal to `quantize_embeddings` of sentence-transformers.
            ranges: For int8 and uint8, the least and the largest value of each dimension, (2, dimensions), among
                representative embeddings. By default those of these texts, which do not fit later texts.
            convert_to_numpy: Return a NumPy array, or else a list of tensors.
            convert_to_tensor: Return one tensor on the model's device; takes precedence over `convert_to_numpy`.
            show_progress_bar: Show a progress bar.
            device: Device to move the model to first.
            tokenizer: Tokenizer to use instead of the one loaded with the model.

        Returns:
            Embeddings of that precision: (dimensions,) for one string, (number of texts, dimensions) for many, in
            their order. Signs take an eighth of the dimensions.

        Raises:
            TypeError: A text is not a string, or an argument is unknown.
            ValueError: `truncate_dim`, `space`, `batch_size` or `precision` is out of range, no tokenizer was loaded,
                or one text is to be quantised without `ranges`.
        """
        if unknown:
            raise TypeError(f"encode has no argument {', '.join(unknown)}; it takes {ENCODE_ARGUMENTS}.")
        single, texts = isinstance(texts, str), [(prompt or "") + text for text in check_texts(texts)]
        if (batch_size := as_integer("batch_size", batch_size)) < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        width = self.config.embedding_size
        dimensions = width if truncate_dim is None else as_integer("truncate_dim", truncate_dim)
        if not 1 <= dimensions <= width:
            raise ValueError(f"truncate_dim must lie between 1 and {width}, not {truncate_dim}.")
        teacher_map = None if space is None else self._teacher_map(space, truncate_dim)
        if precision not in ("float32", *SCALAR, *BINARY):
            raise ValueError(f"precision must be float32, {', '.join((*SCALAR, *BINARY))}, not {precision!r}.")
        if precision in SCALAR and ranges is None and len(texts) == 1:
            raise ValueError(f"The {precision} of one text needs ranges, taken from many embeddings.")
        tokenizer = self._checked_tokenizer(tokenizer)
        if device is not None:
            self.to(device)

        embeddings = torch.empty(len(texts), dimensions if teacher_map is None else teacher_map.shape[1])
        progress = logging.tqdm(total=len(texts), desc="Embedding", unit=" texts", disable=not show_progress_bar)
        with contextlib.closing(progress), self._evaluating():
            for start in range(0, len(texts), ENCODE_CHUNK):
                chunk = texts[start : start + ENCODE_CHUNK]
                token_ids = [encoding.ids for encoding in self._tokenize(chunk, tokenizer)]
                for rows in self._passes([len(ids) for ids in token_ids], batch_size):
                    vectors = self._embed([token_ids[row] for row in rows])[:, :dimensions]
                    if teacher_map is not None:
                        vectors = vectors @ teacher_map.float()
                    if normalize_embeddings:
                        vectors = nn.functional.normalize(vectors, dim=-1)
                    embeddings[torch.tensor(rows) + start] = vectors.cpu()
                    progress.update(len(rows))
        if precision != "float32" and texts:
            embeddings = quantize(embeddings, precision, ranges)
        embeddings = embeddings[0] if single else embeddings
        if convert_to_tensor:
            return embeddings.to(self.device)
        if convert_to_numpy:
            return embeddings.numpy()
        return embeddings if single else list(embeddings)

    def _teacher_map(self, space: str, truncate_dim: int | None) -> torch.Tensor:
        """Return the map to a teacher's space: (embedding size, teacher's dimensions)."""
        names = [name for name, _ in self.config.teacher_spaces or ()]
        if not names or space not in ("teacher", *names):
            known = f"its teachers are {', '.join(names)}" if names else "it stores no map to a teacher's space"
            raise ValueError(f"This Asterisk has no space {space!r}; {known}.")
        if truncate_dim is not None:
            raise ValueError("truncate_dim and space exclude each other: only the whole embedding is mapped.")
        return getattr(self, f"teacher_map_{0 if space == 'teacher' else names.index(space)}")

    @torch.no_grad()
    def encode_tokens(
        self, texts: str | Iterable[str], batch_size: int = 128, *, tokenizer: PreTrainedTokenizerFast | None = None
    ) -> Any:
        """Embed the tokens of texts of any length.

        A text longer than the model's positions is read in windows that overlap by a quarter. A token in two windows
        gets the mean of its two vectors.

        Args:
            texts, batch_size, tokenizer: As for `encode`; a window counts as a text.

        Returns:
            For one string, two arrays: the projected token vectors (tokens, dimensions), float32, not normalised; and
            the first character of each token and the one after its last (tokens, 2), int64. For many strings, a list
            of such pairs. Special tokens are left out.

        Raises:
            TypeError: A text is not a string.
            ValueError: No tokenizer was loaded.
        """
        single, texts = isinstance(texts, str), check_texts(texts)
        tokenizer = self._checked_tokenizer(tokenizer)
        encodings = self._tokenize(texts, tokenizer, offsets=True)
        windows = [window for first in encodings for window in (first, *first.overflowing)]
        vectors: dict[int, torch.Tensor] = {}
        with self._evaluating():
            for rows in self._passes([len(window.ids) for window in windows], batch_size):
                outputs = self(*self._pad([windows[row].ids for row in rows])).last_hidden_state
                vectors |= dict(zip(rows, outputs.float().cpu(), strict=True))
        results, row = [], 0
        for first in encodings:
            count = 1 + len(first.overflowing)
            each = [vectors[index] for index in range(row, row + count)]
            results.append(merge_windows(windows[row : row + count], each, self._limits(tokenizer)[1]))
            row += count
        return results[0] if single else results

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Switch to evaluation mode, and to one thread in a forked process."""
        was_training, threads = self.training, torch.get_num_threads()
        # PyTorch's threads do not survive a fork: a forked process would wait for them forever.
        is_forked = multiprocessing.current_process().pid != IMPORTED_BY
        try:
            self.eval()
            if is_forked:
                torch.set_num_threads(1)
            yield
        finally:
            self.train(was_training)
            if is_forked:
                torch.set_num_threads(threads)

    def _checked_tokenizer(self, tokenizer: PreTrainedTokenizerFast | None) -> PreTrainedTokenizerFast:
        tokenizer = tokenizer or self.tokenizer
        if tokenizer is None:
            raise ValueError(f"There is no tokenizer: {self.tokenizer_problem}; pass encode(..., tokenizer=...).")
        return tokenizer

    def _limits(self, tokenizer: PreTrainedTokenizerFast) -> tuple[int | None, int]:
        """Return the tokens of a window, None for any number, and how many of them the next window repeats."""
        longest = tokenizer.model_max_length
        if self.config.position_encoding == "learned":
            longest = min(longest, self.config.max_position_embeddings)
        room = longest - tokenizer.backend_tokenizer.num_special_tokens_to_add(False)
        # A tokenizer without a limit reports one far beyond what the Rust code can hold.
        return (longest, max(0, room // 4)) if longest < 1_000_000 else (None, 0)

    def _tokenize(self, texts: list[str], tokenizer: PreTrainedTokenizerFast, offsets: bool = False) -> list[Any]:
        """Return the encodings of the Rust tokenizer, truncated; `overflowing` holds the further windows."""
        # The Rust tokenizer is called directly, since transformers' wrapper takes longer than the tokenizer itself.
        backend = tokenizer.backend_tokenizer
        limit, overlap = self._limits(tokenizer)
        truncation: dict[str, Any] = {"max_length": limit, "stride": overlap, "direction": tokenizer.truncation_side}
        # Settings are changed only if they differ, since other threads may be reading them.
        if backend.padding is not None:
            backend.no_padding()
        if limit is None and backend.truncation is not None:
            backend.no_truncation()
        elif limit is not None and not truncation.items() <= (backend.truncation or {}).items():
            backend.enable_truncation(**truncation)
        encode = backend.encode_batch if offsets else backend.encode_batch_fast
        try:
            return encode(texts)
        except TypeError:  # a lone surrogate, which Python strings can hold and UTF-8 cannot
            return encode([text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts])

    def _passes(self, lengths: list[int], batch_size: int) -> Iterator[list[int]]:
        """Yield the rows of each forward pass, longest texts first, so that hardly any of a pass is padding."""
        by_length = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        start = 0
        while start < len(by_length):
            size = batch_size
            if self.device.type == "cpu":
                size = max(1, min(size, CPU_PASS_TOKENS // max(1, lengths[by_length[start]])))
            yield by_length[start : start + size]
            start += size

    def _pad(self, token_ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids and the attention mask of texts, the longest first: (batch, length), int64."""
        lengths = torch.tensor([len(ids) for ids in token_ids])
        longest = max(1, len(token_ids[0]))
        input_ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids in token_ids])
        attention_mask = (torch.arange(longest) < lengths[:, None]).long()
        return input_ids.to(self.device), attention_mask.to(self.device)

    def _embed(self, token_ids: list[list[int]]) -> torch.Tensor:
        """Embed texts, the longest first, without normalising: (batch, embedding size), float32."""
        input_ids, attention_mask = self._pad(token_ids)
        return self._pool(self._contextualize(input_ids, attention_mask), attention_mask, self.projection)


class AsteriskClassificationHead(nn.Module):
    """dense → GELU → dropout → out_proj on the sentence embedding."""

    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.dense = nn.Linear(config.embedding_size, config.classifier_hidden_size)
        self.act_fn = nn.GELU()
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out_proj = nn.Linear(config.classifier_hidden_size, config.num_labels)  # type: ignore[arg-type]

    def forward(self, sentence_embeddings: torch.Tensor) -> torch.Tensor:
        return self.out_proj(self.dropout(self.act_fn(self.dense(sentence_embeddings))))


class AsteriskForSequenceClassification(AsteriskPreTrainedModel):
    """Asterisk with a fully connected classification head on its sentence embedding."""

    def __init__(self, config: AsteriskConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.asterisk = AsteriskModel(config)
        self.classifier = AsteriskClassificationHead(config)
        self.post_init()

    def truncated(self, depth: int) -> "AsteriskForSequenceClassification":
        """Return the head on the exit at a depth, with copies of the weights; see [`AsteriskModel.truncated`]."""
        backbone = self.asterisk.truncated(depth)
        model = AsteriskForSequenceClassification(backbone.config)
        model.to(device=self.device, dtype=self.dtype)  # type: ignore[call-arg]
        model.asterisk = backbone
        model.classifier.load_state_dict(self.classifier.state_dict())
        return model.train(self.training)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        sentence_embeddings: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        r"""Classify token sequences, or embeddings computed earlier.

        Args:
            input_ids, attention_mask, position_ids, inputs_embeds: As for [`AsteriskModel`], but token ids beyond
                `config.max_position_embeddings` are cut off with a warning, since transformers' pipelines pass texts
                of any length.
            sentence_embeddings: (batch, embedding size), embeddings from `AsteriskModel`, instead of tokens; the
                backbone is then not run.
            labels: (batch,) int64 class indices; (batch, num_labels) zeros and ones for several labels per text; or
                (batch,) or (batch, num_labels) numbers for regression. `config.problem_type` selects the loss; if it
                is unset, the number of labels and the labels' dtype do.

        Returns:
            `logits` (batch, num_labels), the head's outputs divided by `config.temperature`; with labels also `loss`:
            cross-entropy, binary cross-entropy or mean squared error.

        Raises:
            ValueError: `sentence_embeddings` is given with another input or has the wrong width.
        """
        hidden_states = attentions = None
        if sentence_embeddings is None:
            if input_ids is not None and position_ids is None and not torch.compiler.is_compiling():
                input_ids, attention_mask = self._truncate(input_ids, attention_mask)
            outputs = self.asterisk(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                inputs_embeds=inputs_embeds,
                project_tokens=False,
                **kwargs,
            )
            sentence_embeddings = outputs.pooler_output
            hidden_states, attentions = outputs.hidden_states, outputs.attentions
        elif input_ids is not None or inputs_embeds is not None:
            raise ValueError("Give sentence_embeddings alone, or input_ids or inputs_embeds, not both.")
        elif sentence_embeddings.shape[-1] != self.config.embedding_size:
            raise ValueError(
                f"sentence_embeddings must have {self.config.embedding_size} dimensions, "
                f"not {sentence_embeddings.shape[-1]}."
            )
        logits = self.classifier(sentence_embeddings.to(self.classifier.dense.weight.dtype)) / self.config.temperature

        loss = None
        if labels is not None:
            if self.config.problem_type in ("regression", "multi_label_classification"):
                labels = labels.to(logits.dtype)
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden_states, attentions=attentions)

    def _truncate(self, input_ids: Any, attention_mask: Any) -> tuple[Any, Any]:
        """Cut token ids padded on the right at the longest input, as the tokenizer does with `truncation=True`."""
        longest = self.asterisk.embeddings.max_positions
        if self.config.position_encoding != "learned" or input_ids.shape[1] <= longest:
            return input_ids, attention_mask
        logger.warning_once(f"Texts of more than {longest} tokens are truncated to {longest}.")
        cut = input_ids[:, :longest].clone()
        tokenizer = self.asterisk.tokenizer
        if tokenizer is not None and input_ids[:, longest:].eq(tokenizer.sep_token_id or -1).any():
            is_longer = input_ids[:, longest] != self.config.pad_token_id
            cut[is_longer, -1] = tokenizer.sep_token_id
        return cut, None if attention_mask is None else attention_mask[:, :longest]


__all__ = ["AsteriskForSequenceClassification", "AsteriskModel", "AsteriskPreTrainedModel"]
