"""The same weights under an architecture that transformers has had for years, so that no remote code is needed.

That architecture is XLM-RoBERTa-XL, whatever its name: pre-norm blocks, learned positions, no LayerNorm on the
embeddings, a final one, biases everywhere, any activation. The projection becomes sentence-transformers' Dense module,
which after pooling says the same as before it. The embeddings are the same, to 1e-6, on transformers 4.57, 5.4, 5.23.
What else comes near: GPT2Model with `is_causal=False`, which transformers 4 silently runs causally; and EsmModel, the
same on all three, but with a GELU that cannot be changed and a contact head besides.
"""

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, XLMRobertaXLConfig, XLMRobertaXLModel

from asterisk.core.errors import UserError
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.sentence_transformers_files import write_sentence_transformers_files

# The twin counts positions from behind the id of its padding token, so that a large one makes a large table.
LARGEST_OFFSET = 1_000

# Characters that stand for bytes which occur in no UTF-8 text, in byte-level vocabularies.
IMPOSSIBLE_BYTES = (0xC0, 0xC1, *range(0xF5, 0x100))


def write_native_model(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """Writes config.json, the weights and the files of sentence-transformers.

    Raises:
        UserError: The configuration has no twin.
    """
    model = native_twin(checkpoint)
    projection = torch.nn.Linear(checkpoint.config.hidden_size, checkpoint.config.projection_dim)
    projection.load_state_dict(checkpoint.backbone.projection.state_dict())
    model.to(dtype).save_pretrained(folder)  # type: ignore[arg-type]
    write_sentence_transformers_files(checkpoint, folder, projection.to(dtype))


def native_twin(checkpoint: Checkpoint) -> XLMRobertaXLModel:
    """An XLM-RoBERTa-XL whose last state is the Asterisk's before its projection.

    Raises:
        UserError: The configuration has no twin.
    """
    config = checkpoint.config
    _check(checkpoint)
    padding = position_padding(checkpoint.tokenizer)
    twin = XLMRobertaXLModel(
        XLMRobertaXLConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            hidden_act=config.hidden_act,
            hidden_dropout_prob=config.hidden_dropout_prob,
            attention_probs_dropout_prob=config.attention_probs_dropout_prob,
            max_position_embeddings=padding + 1 + config.max_position_embeddings,
            type_vocab_size=1,
            layer_norm_eps=config.layer_norm_eps,
            initializer_range=config.initializer_range,
            pad_token_id=padding,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    twin.load_state_dict(_twin_weights(checkpoint, twin, padding))
    return twin.eval()


def position_padding(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id that the twin takes for padding when it counts positions.

    The padding token's own if that is small. Otherwise that of a token that no text can produce: attention is masked
    anyway, and a text without padding is then counted from the beginning.

    Raises:
        UserError: There is none.
    """
    own = int(tokenizer.pad_token_id)  # type: ignore[arg-type]
    if own <= LARGEST_OFFSET:
        return own
    vocabulary = tokenizer.get_vocab()
    if type(tokenizer.backend_tokenizer.pre_tokenizer).__name__ == "ByteLevel":
        found = [vocabulary[chr(byte)] for byte in IMPOSSIBLE_BYTES if chr(byte) in vocabulary]
        if found and min(found) <= LARGEST_OFFSET:
            return min(found)
    raise UserError(
        f"The tokenizer's padding token has the id {own:,}, by which the twin's table of positions would grow; give a "
        f"model whose padding token is among the first {LARGEST_OFFSET:,}."
    )


def _check(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    for name, wanted in (("is_causal", False), ("position_encoding", "learned")):
        if (value := getattr(config, name)) != wanted:
            raise UserError(
                f"{checkpoint.folder} has {name} = {value!r}, for which transformers has no native twin; only "
                f"{name} = {wanted!r} has one."
            )
    if checkpoint.is_classifier:
        raise UserError(f"{checkpoint.folder} has a classification head, for which transformers has no native twin.")


def _twin_weights(checkpoint: Checkpoint, twin: XLMRobertaXLModel, padding: int) -> dict[str, torch.Tensor]:
    own = checkpoint.backbone.state_dict()
    # What has no counterpart (token types, the pooler) is zero, not random: saved folders are the same each time.
    weights = {name: torch.zeros_like(each) for name, each in twin.state_dict().items()}
    weights["embeddings.word_embeddings.weight"] = own["embeddings.embed_tokens.weight"]
    weights["embeddings.position_embeddings.weight"][padding + 1 :] = own["embeddings.embed_positions.weight"]
    names = {"norm": "encoder.LayerNorm"}
    for index in range(checkpoint.config.num_hidden_layers):
        source, target = f"layers.{index}", f"encoder.layer.{index}"
        names |= {
            f"{source}.attention_norm": f"{target}.attention.self_attn_layer_norm",
            f"{source}.self_attn.o_proj": f"{target}.attention.output.dense",
            f"{source}.mlp_norm": f"{target}.LayerNorm",
            f"{source}.mlp.up_proj": f"{target}.intermediate.dense",
            f"{source}.mlp.down_proj": f"{target}.output.dense",
        }
        for kind in ("weight", "bias"):
            parts = own[f"{source}.self_attn.qkv_proj.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                weights[f"{target}.attention.self.{name}.{kind}"] = part
    for source, target in names.items():
        for kind in ("weight", "bias"):
            weights[f"{target}.{kind}"] = own[f"{source}.{kind}"]
    return weights
