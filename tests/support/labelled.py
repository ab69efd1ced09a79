"""A tiny untrained Asterisk that knows a few words, and texts of two topics made of them."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskConfig, AsteriskModel

TOPICS = {
    "food": ["soup", "salt", "bread", "oven", "garlic"],
    "sport": ["goal", "team", "ball", "match", "league"],
}
OTHER_WORDS = ["the", "a", "with", "and", "of"]
MAX_LENGTH = 16


def write_tiny_asterisk(folder: Path, **changes: Any) -> Path:
    """Save the model, with changes of its configuration; return its folder."""
    words = ["[PAD]", "[UNK]", *TOPICS["food"], *TOPICS["sport"], *OTHER_WORDS]
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, "[UNK]"))
    backend.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_max_length=MAX_LENGTH
    )
    torch.manual_seed(0)
    settings: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "projection_dim": 16, **changes}
    settings |= {"classifier_hidden_size": 16, "max_position_embeddings": MAX_LENGTH, "pad_token_id": 0}
    config = AsteriskConfig(vocab_size=len(words), **settings)
    save_student(AsteriskModel(config), tokenizer, folder)
    return folder


def topic_rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct texts and their topics, by turns."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        topic = list(TOPICS)[number % len(TOPICS)]
        words = [*generator.choices(TOPICS[topic], k=4), *generator.choices(OTHER_WORDS, k=4), f"{seed}_{number}"]
        generator.shuffle(words)
        rows.append((" ".join(words), topic))
    return rows


def write_table(path: Path, rows: Sequence[Sequence[object]], head: str = "text,label") -> Path:
    """Writes a CSV file; gives its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head.split(","), *rows])
    return path
