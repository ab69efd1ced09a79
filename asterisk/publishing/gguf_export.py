"""Export the model as GGUF files for llama.cpp and Ollama: float32, float16 and int8 (Q8_0).

llama.cpp's GPT-2 has the structure of an Asterisk without a final projection: pre-norm blocks, learned positions,
biases everywhere and a final LayerNorm. Two keys of the file switch off causal attention and name the pooling;
llama.cpp has read both for every architecture since March 2026. Its WordPiece adds [CLS] and [SEP] to every text. Its
GELU is the tanh approximation. It does not truncate: for a text longer than the positions, it raises an error, or the
client truncates the text.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, PoolingType, TokenType
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.publishing.checkpoint import Checkpoint
from modeling_asterisk import AsteriskConfig

# llama.cpp's names of the types; the Hub and Ollama select a file by this suffix of its name.
FORMATS = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
SMALLEST = "Q8_0"
POOLINGS = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last": PoolingType.LAST}
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast")

NAMES = {
    "embeddings.embed_tokens": "token_embd",
    "embeddings.embed_positions": "position_embd",
    "norm": "output_norm",
    "attention_norm": "attn_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# llama.cpp's prefix of a word's first piece; BERT instead marks the other pieces, with ##.
WORD_START = "\u2581"


def write_gguf_files(checkpoint: Checkpoint, folder: Path, compact: bool = False) -> None:
    """Create the folder with model-F32.gguf, model-F16.gguf and model-Q8_0.gguf; with the last alone if `compact`.

    Raises:
        UserError: llama.cpp cannot represent the model or its tokenizer.
    """
    check_model(checkpoint)
    check_tokenizer(checkpoint.tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, (kind, file_type) in FORMATS.items():
        if compact and suffix != SMALLEST:
            continue
        writer = GGUFWriter(folder / f"model-{suffix}.gguf", "gpt2")
        writer.add_name("Asterisk")
        writer.add_file_type(file_type)
        add_sizes(writer, checkpoint.config)
        add_tokenizer(writer, checkpoint.tokenizer, checkpoint.config.vocab_size)
        for weight, values in weights(checkpoint).items():
            # As in llama.cpp's own conversion, vectors and positions stay in float32.
            chosen = GGMLQuantizationType.F32 if values.ndim == 1 or "position" in weight else kind
            writer.add_tensor(weight, gguf.quants.quantize(values, chosen), raw_dtype=chosen)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def check_model(checkpoint: Checkpoint) -> None:
    """Refuse a model that llama.cpp's GPT-2 cannot represent.

    Raises:
        UserError: The message says what a GGUF file needs.
    """
    config, folder = checkpoint.config, checkpoint.folder
    if checkpoint.is_classifier:
        raise UserError(f"{folder} has a classification head, which a GGUF file cannot hold; publish its backbone.")
    if config.projection_dim is not None or not config.final_norm:
        raise UserError(
            f"{folder} has a final projection or no final norm, unlike llama.cpp's GPT-2; a GGUF file needs a model "
            "that was trained without projection (--projection_dim 0), with all its layers."
        )
    if config.position_encoding != "learned":
        raise UserError(f"{folder} has no learned positions, which llama.cpp's GPT-2 needs.")
    if config.hidden_act not in ACTIVATIONS:
        raise UserError(f"{folder} has hidden_act {config.hidden_act!r}; llama.cpp's GPT-2 computes only GELU.")
    if config.hidden_size % 32 or config.intermediate_size % 32:
        raise UserError(
            f"{folder} has a hidden_size or intermediate_size that is not a multiple of 32, as Q8_0 needs."
        )


def check_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuse a tokenizer that llama.cpp's WordPiece cannot replace.

    Raises:
        UserError: The message says what a GGUF file needs.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kinds = tuple((content[part] or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        found = ", ".join(map(str, kinds))
        raise UserError(
            f"A GGUF file needs a WordPiece tokenizer like BERT's; the tokenizer of this model is {found}."
        )
    if (added := tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"])) != ["[CLS]", "[SEP]"]:
        raise UserError(
            f"llama.cpp puts [CLS] before and [SEP] after every text, but this model's tokenizer adds {added}; a GGUF "
            "file needs a model that was trained with both."
        )


def add_sizes(writer: GGUFWriter, config: AsteriskConfig) -> None:
    """Write the sizes, the pooling and whether attention is causal."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(config.is_causal)
    writer.add_pooling_type(POOLINGS[config.pooling])


def add_tokenizer(writer: GGUFWriter, tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
    """Write a WordPiece tokenizer.

    Args:
        writer: The writer of the file.
        tokenizer: The tokenizer.
        rows: The rows of the token table; those without a token get a name that no text contains.
    """
    pieces = {index: piece for piece, index in tokenizer.get_vocab().items()}
    tokens, kinds = [], []
    for index in range(rows):
        piece, kind = pieces.get(index, f"[UNUSED{index}]"), TokenType.NORMAL
        if index not in pieces:
            kind = TokenType.UNUSED
        elif index in tokenizer.all_special_ids:
            kind = TokenType.CONTROL
        else:
            piece = piece[2:] if piece.startswith("##") else WORD_START + piece
        tokens.append(piece)
        kinds.append(kind)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    writer.add_sep_token_id(tokenizer.sep_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_mask_token_id(tokenizer.mask_token_id)
    writer.add_add_bos_token(True)
    writer.add_add_sep_token(True)
    normalizer = json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"]
    lowercase, strips = normalizer["lowercase"], normalizer["strip_accents"]
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    writer.add_bool("tokenizer.ggml.normalizer.strip_accents", lowercase if strips is None else strips)


def weights(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Return the weights of the whole embedding model, float32, under llama.cpp's names."""
    named = {}
    for source, values in checkpoint.backbone.state_dict().items():
        if source.startswith(("exits.", "teacher_map")):
            continue  # for shallower models, and for an index of a teacher's vectors
        module, _, kind = source.rpartition(".")
        block = ""
        if module.startswith("layers."):
            _, index, module = module.split(".", 2)
            block = f"blk.{index}."
        named[f"{block}{NAMES[module]}.{kind}"] = values.float().numpy()
    return named
