"""Fast tokenizers in the form that every transformers release loads."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import read_json, write_json
from modeling_asterisk import AsteriskConfig

# A tokenizer without a limit reports at least this number of tokens.
UNLIMITED = 1_000_000


def portable_tokenizer(source: PreTrainedTokenizerBase, max_length: int) -> PreTrainedTokenizerFast:
    """Copy any fast tokenizer into a PreTrainedTokenizerFast, the class that every transformers release has.

    Raises:
        UserError: The tokenizer is not a fast one.
    """
    backend = getattr(source, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"The tokenizer of {source.name_or_path} ({type(source).__name__}) is not a fast one; give a model that "
            "has a tokenizer.json."
        )
    return wrapped_tokenizer(
        type(backend).from_str(backend.to_str()),
        max_length,
        add_prefix_space=getattr(source, "add_prefix_space", False),
        **source.special_tokens_map,
    )


def wrapped_tokenizer(tokenizer: Tokenizer, max_length: int, **settings: Any) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer of the tokenizers library for transformers.

    Truncation and padding are switched off, since each call sets them. `settings` are further arguments of
    PreTrainedTokenizerFast, such as special tokens.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **settings,
    )


def max_input_length(tokenizer: PreTrainedTokenizerFast, config: AsteriskConfig) -> int:
    """Return the maximum number of tokens of a text, at most [`UNLIMITED`]."""
    positions = config.max_position_embeddings if config.position_encoding == "learned" else UNLIMITED
    return min(tokenizer.model_max_length, positions)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer as a PreTrainedTokenizerFast, without the truncation and padding of past calls."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
