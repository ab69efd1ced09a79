"""models.tokenizers"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.core.files import read_json, write_json

if TYPE_CHECKING:
    pass


def portable_tokenizer(source: PreTrainedTokenizerBase, max_length: int) -> PreTrainedTokenizerFast:
    """A copy of any fast tokenizer as the class that every transformers release knows.

    Raises:
        UserError: It is not a fast tokenizer.
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
    # Truncation and padding are settings of calls, not of the vocabulary.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **settings,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Saves a tokenizer as the class that every transformers release knows, not the one that transformers 5 names."""
    # Settings of calls, which one run has made and another has not.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
