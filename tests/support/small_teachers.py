"""Teachers that need no model."""

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError


class WordPieceTeacher:
    """A teacher of 60 tokens. Its vectors are random, seeded by the text or token id."""

    name = "a WordPiece teacher"

    def __init__(self) -> None:
        entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "##bow", "bow", ",", *"abcdefghijklmnopqrstuvwxyz"]
        entries += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
        backend = Tokenizer(WordPiece({entry: index for index, entry in enumerate(entries)}, unk_token="[UNK]"))
        backend.normalizer, backend.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
        backend.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        draws = [np.random.default_rng(list(text.encode())).standard_normal(64) for text in texts]
        return np.array(draws, dtype=np.float32), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        return self.encode([f"token {token_id}" for token_id in token_ids])[0]


class PrecomputedTeacher:
    """A teacher that embeds no new text."""

    name = "vectors.npy"

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        raise UserError("vectors.npy has no vector of 'the'.")
