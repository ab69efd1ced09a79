"""The native twin: the same weights under an architecture of transformers, so that no remote code is needed.

XLM-RoBERTa-XL has the same structure: pre-norm blocks, learned positions, a final LayerNorm but none on the
embeddings, biases everywhere, any activation. A projection becomes a Dense module of sentence-transformers, which some
clients ignore; a model without projection needs no such module. The embeddings agree to 1e-6 on transformers 4.57, 5.4
and 5.23. Rejected alternatives: transformers 4 ignores `is_causal=False` in GPT2Model; EsmModel allows only one
activation.
"""

import copy
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, XLMRobertaXLConfig, XLMRobertaXLModel

from asterisk.core.errors import UserError
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.sentence_transformers_files import write_sentence_transformers_files

# The twin counts positions from the id of its padding token upwards, so a large id makes a large table.
LARGEST_OFFSET = 1_000

SHARED_SETTINGS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "initializer_range"),
)

# Bytes that never occur in UTF-8; byte-level vocabularies have a character for each.
IMPOSSIBLE_BYTES = (0xC0, 0xC1, *range(0xF5, 0x100))


def write_native_model(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json, the weights and the files of sentence-transformers."""
    model = native_twin(checkpoint)
    projection = copy.deepcopy(checkpoint.backbone.projection).to(dtype)
    model.to(dtype).save_pretrained(folder)  # type: ignore[arg-type]
    write_sentence_transformers_files(
        checkpoint, folder, projection if isinstance(projection, torch.nn.Linear) else None
    )


def native_twin(checkpoint: Checkpoint) -> XLMRobertaXLModel:
    """Return an XLM-RoBERTa-XL whose last hidden state equals the Asterisk's before the projection.

    Raises:
        UserError: The checkpoint has no native twin.
    """
    config = checkpoint.config
    _check(checkpoint)
    padding = position_padding(checkpoint.tokenizer)
    twin = XLMRobertaXLModel(
        XLMRobertaXLConfig(
            **{name: getattr(config, name) for name in SHARED_SETTINGS},
            max_position_embeddings=padding + 1 + config.max_position_embeddings,
            type_vocab_size=1,
            pad_token_id=padding,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    twin.load_state_dict(_twin_weights(checkpoint, twin, padding))
    return twin.eval()


def position_padding(tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the id that the twin regards as padding when it counts positions.

    This is the padding token's id if that is small. Otherwise, it is the id of a token that no text can produce: the
    attention mask hides the padding, and positions count from the start of every text.

    Raises:
        UserError: There is no such id among the first `LARGEST_OFFSET`.
    """
    padding = int(tokenizer.pad_token_id)  # type: ignore[arg-type]
    if padding <= LARGEST_OFFSET:
        return padding
    vocabulary = tokenizer.get_vocab()
    if type(tokenizer.backend_tokenizer.pre_tokenizer).__name__ == "ByteLevel":
        found = [vocabulary[chr(byte)] for byte in IMPOSSIBLE_BYTES if chr(byte) in vocabulary]
        if found and min(found) <= LARGEST_OFFSET:
            return min(found)
    raise UserError(
        f"The tokenizer's padding token has the id {padding:,}, so the twin's table of positions would grow by as "
        f"many rows; give a model whose padding token is among the first {LARGEST_OFFSET:,}."
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
    original = checkpoint.backbone.state_dict()
    # Weights without a counterpart (token types, the pooler) are zero, so that published folders are reproducible.
    weights = {name: torch.zeros_like(each) for name, each in twin.state_dict().items()}
    weights["embeddings.word_embeddings.weight"] = original["embeddings.embed_tokens.weight"]
    weights["embeddings.position_embeddings.weight"][padding + 1 :] = original["embeddings.embed_positions.weight"]
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
            parts = original[f"{source}.self_attn.qkv_proj.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                weights[f"{target}.attention.self.{name}.{kind}"] = part
    for source, target in names.items():
        for kind in ("weight", "bias"):
            weights[f"{target}.{kind}"] = original[f"{source}.{kind}"]
    return weights
