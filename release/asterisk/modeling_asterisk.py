"""Asterisk: a tiny GPT-style text-embedding model, and a classifier on top of it.

Architecture: "Keep it Simple" (Semenov 2024, arXiv 2411.05691). Token and learned position embeddings, pre-norm blocks
(bidirectional attention, GELU feed-forward), a final LayerNorm and a projection. The projection is applied to every
token, which for mean pooling equals projecting afterwards, so that a consumer that only knows "mean-pool
`last_hidden_state`, then normalise" gets the model's embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

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

# Texts that `encode` tokenises and sorts by length at a time: enough to fill batches evenly, little enough to keep
# memory flat however many texts there are.
ENCODE_CHUNK = 16_384

# Tokens of one forward pass of `encode` on a CPU, padding included: few enough to stay in its caches.
CPU_PASS_TOKENS = 2_048

# The process that imported this; one that is forked from it has another number.
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
    """Attention in plain matrix products; the only implementation that returns its weights."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    dropped = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(dropped, value).transpose(1, 2).contiguous(), weights


def pool(token_vectors: torch.Tensor, attention_mask: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """Turns token vectors into one vector per row.

    Args:
        token_vectors: (batch, length, dimensions), any floating dtype.
        attention_mask: (batch, length), non-zero where a token counts; None or a 4-D mask means that all count.
        pooling: "mean", "cls" or "last".

    Returns:
        (batch, dimensions), float32, since sums and norms overflow in half precision; a row without any token is all
        zeros.
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
    # argmax finds the first token that counts, or the last one by weighing the mask with its positions.
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
                # Elsewhere than on a CPU, reading the largest position back would stall the device at every call.
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


class AsteriskLinear(nn.Linear):
    """A linear layer; in float32, under inference mode, on an x86 CPU, by oneDNN.

    There torch itself takes MKL, which computes half as fast on processors that are not Intel's.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        by_onednn = (
            torch.is_inference_mode_enabled()
            and hidden_states.device.type == "cpu"
            and hidden_states.dtype == self.weight.dtype == torch.float32
            and torch.backends.mkl.is_available()
            and torch.backends.mkldnn.is_available()
            and not torch.is_autocast_enabled("cpu")
            and hidden_states.numel()
        )
        if by_onednn:
            return torch.ops.mkldnn._linear_pointwise(hidden_states, self.weight, self.bias, "none", [], "")
        return super().forward(hidden_states)


class AsteriskAttention(nn.Module):
    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_probs_dropout_prob
        self.is_causal = config.is_causal
        self.qkv_proj = AsteriskLinear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = AsteriskLinear(config.hidden_size, config.hidden_size)

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
        self.up_proj = AsteriskLinear(config.hidden_size, config.intermediate_size)
        self.act_fn = ACT2FN[config.hidden_act]
        self.down_proj = AsteriskLinear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.up_proj(hidden_states)))


class AsteriskLayer(GradientCheckpointingLayer):
    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = AsteriskAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = AsteriskMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any) -> torch.Tensor:
        attended, _ = self.self_attn(self.attention_norm(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


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
    _input_embed_layer = "embed_tokens"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal tables and Xavier-uniform matrices, as in the paper; biases zero."""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, but from safetensors alone, and never with weights that are not what they should be.

        Raises:
            ValueError: Weights of the backbone are missing, there are others, or one is not finite.
        """
        kwargs.setdefault("use_safetensors", True)
        # Who asks what was loaded, or brings the weights, judges them.
        if kwargs.get("output_loading_info") or kwargs.get("state_dict") is not None:
            return super().from_pretrained(*args, **kwargs)
        # transformers makes the name of a configuration from elsewhere, such as that of adapters, the weights' own.
        name = getattr(kwargs.get("config"), "name_or_path", None)
        location = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        loaded: Any = super().from_pretrained(*args, **kwargs | {"output_loading_info": True})
        model, info = loaded
        check_weights(model, info, own_config=name is None or str(name) == str(location))
        return model


def check_weights(model: AsteriskPreTrainedModel, info: dict[str, Any], own_config: bool = True) -> None:
    """Raises a ValueError if weights that were loaded are not what they should be.

    Args:
        model: What they were loaded into.
        info: What `from_pretrained` tells of it.
        own_config: Whether the configuration lay beside the weights, so that it says whether they have a head.
    """
    # A head may be new, unless the weights are said to have one; and a backbone may be taken out of a classifier.
    has_head = own_config and type(model).__name__ in (model.config.architectures or [])
    missing = sorted(key for key in info["missing_keys"] if has_head or not key.startswith("classifier."))
    unknown = sorted(key for key in info["unexpected_keys"] if not key.startswith("classifier."))
    weights = [(name, each) for name, each in model.named_parameters() if not each.is_meta]
    broken = [name for name, each in weights if not each.float().isfinite().all()]
    for wrong, what in ((missing, "are missing"), (unknown, "are unknown"), (broken, "are not finite")):
        if wrong:
            names = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            raise ValueError(f"Weights of {model.name_or_path} {what}: {names}.")


class AsteriskModel(AsteriskPreTrainedModel):
    """The embedding model. `pooler_output` is the sentence embedding; `encode` is the short way to it."""

    def __init__(self, config: AsteriskConfig):
        super().__init__(config)
        self.embeddings = AsteriskEmbeddings(config)
        self.layers = nn.ModuleList([AsteriskLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.projection = AsteriskLinear(config.hidden_size, config.projection_dim)
        self.gradient_checkpointing = False
        self._tokenizer: PreTrainedTokenizerFast | None = None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.embed_tokens = value  # type: ignore[assignment]

    # The layers' own last state is not `last_hidden_state`: the final norm and the projection lie between them.
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        project_tokens: bool = True,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        r"""Embeds token sequences.

        Args:
            input_ids: (batch, length), int64 token ids.
            attention_mask: (batch, length), 1 for tokens and 0 for padding; all ones if absent.
            position_ids: (batch, length), int64; counted from 0 if absent. Ignored when positions are not learned.
            inputs_embeds: (batch, length, hidden_size), instead of `input_ids`.
            project_tokens: Whether to compute `last_hidden_state`; `pooler_output` comes without it, and sooner.

        Returns:
            `last_hidden_state` (batch, length, projection_dim): projected token vectors; `pooler_output`
            (batch, projection_dim): their pooled, unit-norm embedding, all zeros for a row that is all padding;
            `hidden_states` and `attentions` (eager attention only) of the layers on request.

        Raises:
            ValueError: Neither or both of `input_ids` and `inputs_embeds` are given, or a position lies beyond
                `config.max_position_embeddings`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        hidden_states = self._contextualize(input_ids, attention_mask, position_ids, inputs_embeds, **kwargs)
        pooled = nn.functional.normalize(self._pool(hidden_states, attention_mask), dim=-1)
        return BaseModelOutputWithPooling(
            last_hidden_state=self.projection(hidden_states) if project_tokens else None,  # type: ignore[arg-type]
            pooler_output=pooled.to(hidden_states.dtype),  # type: ignore[arg-type]
        )

    def _contextualize(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """The tokens after the layers and the final norm: (batch, length, hidden_size)."""
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
        # A batch of empty texts, under a tokenizer without special tokens, has no token for attention to look at.
        for layer in self.layers if hidden_states.numel() else ():
            hidden_states = layer(hidden_states, layer_mask, position_ids=position_ids, **kwargs)
        return self.norm(hidden_states)

    def _pool(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The projected token vectors, pooled: (batch, projection_dim), float32.

        Pooling is linear, so that one vector is projected in the place of all tokens.
        """
        pooled = pool(hidden_states, attention_mask, self.config.pooling)
        projected = self.projection(pooled.to(hidden_states.dtype)).float()
        if attention_mask is not None and attention_mask.dim() == 2:
            # Of a row without any token, the projection would leave its bias.
            projected = projected * attention_mask.any(dim=1, keepdim=True)
        return projected

    @torch.inference_mode()
    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int = 128,
        truncate_dim: int | None = None,
        normalize: bool = True,
        show_progress: bool = False,
        tokenizer: PreTrainedTokenizerFast | None = None,
    ) -> Any:
        """Embeds texts.

        Args:
            texts: One string or many. An empty string is a text like any other; half of a surrogate pair, which is no
                character, counts as U+FFFD.
            batch_size: Texts per forward pass, at most; on a CPU, a pass of several texts holds 2,048 tokens at most.
            truncate_dim: Keep only the first so many dimensions.
            normalize: Scale the embeddings to unit length, after truncating. Otherwise they are the pooled vectors.
            show_progress: Show a progress bar.
            tokenizer: The tokenizer to use; by default the one saved beside the weights.

        Returns:
            A float32 NumPy array: (dimensions,) for one string, (number of texts, dimensions) for many, in the order
            given. Texts longer than the model's positions are truncated.

        Raises:
            TypeError: A text is not a string.
            ValueError: `truncate_dim` or `batch_size` is out of range, or no tokenizer lies beside the weights.
        """
        single = isinstance(texts, str)
        texts = [texts] if isinstance(texts, str) else list(texts)
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"encode takes strings, but text {index} is of type {type(text).__name__}.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
        dimensions = self.config.projection_dim if truncate_dim is None else truncate_dim
        if not 1 <= dimensions <= self.config.projection_dim:
            raise ValueError(f"truncate_dim must lie between 1 and {self.config.projection_dim}, not {truncate_dim}.")
        tokenizer = tokenizer or self._load_tokenizer()

        # PyTorch's threads do not outlive a fork; the forked process would wait for them for ever.
        if multiprocessing.current_process().pid != IMPORTED_BY:
            torch.set_num_threads(1)
        was_training = self.training
        self.eval()
        embeddings = torch.empty(len(texts), dimensions, dtype=torch.float32)
        progress = logging.tqdm(total=len(texts), desc="Embedding", unit=" texts", disable=not show_progress)
        for start in range(0, len(texts), ENCODE_CHUNK):
            token_ids = self._tokenize(texts[start : start + ENCODE_CHUNK], tokenizer)
            for rows, length in self._passes([len(ids) for ids in token_ids], batch_size):
                vectors = self._embed([token_ids[row] for row in rows], length)[:, :dimensions]
                if normalize:
                    vectors = nn.functional.normalize(vectors, dim=-1)
                embeddings[torch.tensor(rows) + start] = vectors.cpu()
                progress.update(len(rows))
        progress.close()
        self.train(was_training)
        return (embeddings[0] if single else embeddings).numpy()

    def _load_tokenizer(self) -> PreTrainedTokenizerFast:
        if self._tokenizer is None:
            name = self.config._name_or_path
            if not name:
                raise ValueError(
                    "This model was not loaded from a folder or the Hub: pass encode(..., tokenizer=...)."
                )
            try:
                # Of the exact class, so that nothing asks about remote code again.
                self._tokenizer = PreTrainedTokenizerFast.from_pretrained(
                    name, revision=getattr(self.config, "_commit_hash", None) or "main"
                )
            except (OSError, ValueError, TypeError) as error:
                raise ValueError(
                    f"No tokenizer lies beside the weights in {name!r}: pass encode(..., tokenizer=...)."
                ) from error
            largest = max(self._tokenizer.get_vocab().values(), default=0)
            if largest >= self.config.vocab_size:
                self._tokenizer = None
                raise ValueError(
                    f"The tokenizer in {name!r} has a token of id {largest}, but the token table has only "
                    f"{self.config.vocab_size} rows."
                )
        return self._tokenizer

    def _tokenize(self, texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
        longest = tokenizer.model_max_length
        if self.config.position_encoding == "learned":
            longest = min(longest, self.config.max_position_embeddings)
        # Straight to the Rust code: what transformers adds to it takes longer than itself, and is not needed here.
        backend = tokenizer.backend_tokenizer
        # A tokenizer without a limit of its own reports one far beyond what the Rust code can hold.
        limit = longest if longest < 1_000_000 else None
        # Nothing is set twice: other threads may be reading it.
        if backend.padding is not None:
            backend.no_padding()
        if (backend.truncation or {}).get("max_length") != limit:
            if limit is None:
                backend.no_truncation()
            else:
                backend.enable_truncation(limit, direction=tokenizer.truncation_side)
        try:
            encodings = backend.encode_batch_fast(texts)
        except TypeError:  # half of a surrogate pair, which Python's strings can hold and UTF-8 cannot
            whole = (text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts)
            encodings = backend.encode_batch_fast(list(whole))
        return [encoding.ids for encoding in encodings]

    def _passes(self, lengths: list[int], batch_size: int) -> Iterator[tuple[list[int], int]]:
        """The rows of each forward pass and the length that they are padded to, from the longest texts on.

        On a CPU there are few lengths, each with its own number of rows: of each shape that oneDNN has met it keeps
        a third of a megabyte, and lays it where the last pass's memory was, so that the next cannot use that again.
        """
        by_length = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        start = 0
        while start < len(by_length):
            length, size = max(1, lengths[by_length[start]]), batch_size
            if self.device.type == "cpu":
                step = 1 if length <= 32 else 4 if length <= 64 else 8
                length = -(-length // step) * step
                if self.config.position_encoding == "learned":
                    length = min(length, self.config.max_position_embeddings)
                size = max(1, min(size, CPU_PASS_TOKENS // length))
                left = len(by_length) - start
                if start and left < size:
                    size = 1 << left.bit_length() - 1  # what is left in powers of two, lest it be of any number
            yield by_length[start : start + size], length
            start += size

    def _embed(self, token_ids: list[list[int]], length: int) -> torch.Tensor:
        """Pools texts padded to one length, without normalising: (batch, projection_dim), float32."""
        input_ids = torch.tensor([ids + [0] * (length - len(ids)) for ids in token_ids])
        lengths = torch.tensor([len(ids) for ids in token_ids])
        attention_mask = (torch.arange(length) < lengths[:, None]).long().to(self.device)
        return self._pool(self._contextualize(input_ids.to(self.device), attention_mask), attention_mask)


class AsteriskClassificationHead(nn.Module):
    """dense → GELU → dropout → out_proj on the sentence embedding."""

    def __init__(self, config: AsteriskConfig):
        super().__init__()
        self.dense = nn.Linear(config.projection_dim, config.classifier_hidden_size)
        self.act_fn = nn.GELU()
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out_proj = nn.Linear(config.classifier_hidden_size, config.num_labels)  # type: ignore[arg-type]

    def forward(self, sentence_embeddings: torch.Tensor) -> torch.Tensor:
        return self.out_proj(self.dropout(self.act_fn(self.dense(sentence_embeddings))))


class AsteriskForSequenceClassification(AsteriskPreTrainedModel):
    """Asterisk with a fully connected head on its sentence embedding."""

    def __init__(self, config: AsteriskConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.asterisk = AsteriskModel(config)
        self.classifier = AsteriskClassificationHead(config)
        self.post_init()

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
        r"""Classifies token sequences, or embeddings computed before.

        Args:
            input_ids, attention_mask, position_ids, inputs_embeds: As for [`AsteriskModel`].
            sentence_embeddings: (batch, projection_dim), what `AsteriskModel` gave for the texts, instead of them: the
                backbone is then not run.
            labels: (batch,) int64 class indices; (batch, num_labels) zeros and ones for several labels per text; or
                (batch,) or (batch, num_labels) numbers for regression. `config.problem_type` says which, or, if it is
                unset, the number of labels and the labels' dtype do.

        Returns:
            `logits` (batch, num_labels), the head's outputs divided by `config.temperature`, and `loss` if there are
            labels: cross-entropy, binary cross-entropy or mean squared error.

        Raises:
            ValueError: `sentence_embeddings` is given together with another input, or is of another width.
        """
        hidden_states = attentions = None
        if sentence_embeddings is None:
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
        elif sentence_embeddings.shape[-1] != self.config.projection_dim:
            raise ValueError(
                f"sentence_embeddings must have {self.config.projection_dim} dimensions "
                f"(config.projection_dim), not {sentence_embeddings.shape[-1]}."
            )
        logits = self.classifier(sentence_embeddings.to(self.classifier.dense.weight.dtype)) / self.config.temperature

        loss = None
        if labels is not None:
            if self.config.problem_type in ("regression", "multi_label_classification"):
                labels = labels.to(logits.dtype)
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=hidden_states, attentions=attentions)


__all__ = ["AsteriskForSequenceClassification", "AsteriskModel", "AsteriskPreTrainedModel"]
