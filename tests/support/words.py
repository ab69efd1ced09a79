"""A tokenizer of ten words."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["[PAD]", "[UNK]", "a", "man", "plays", "guitar", "rain", "dog", "snow", "runs"]


def word_tokenizer(reverse: bool = False) -> Tokenizer:
    """A tokenizer whose ids are the positions in WORDS; with `reverse`, the eight words swap their ids."""
    words = [*WORDS[:2], *reversed(WORDS[2:])] if reverse else WORDS
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer
