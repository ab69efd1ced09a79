"""Fast teachers, small corpora, and the bytes of a store; imports nothing heavy, since killed processes import it."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.data.corpus import Corpus, build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.teacher import Teacher
from tests.support.paths import TEACHER


class QuickTeacher:
    """A teacher whose vectors are hashes of the texts, given at once or after some seconds."""

    precision, fingerprint = "float32", "0123"
    tokenizer: Any = None
    dimension, max_length = 8, 32

    def __init__(self, seconds: float = 0.0, log: Path | None = None, name: str = "quick"):
        self.seconds, self.log, self.name = seconds, log, name

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        time.sleep(self.seconds)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {texts[0]}\n")
        digests = b"".join(hashlib.shake_128(text.encode()).digest(self.dimension) for text in texts)
        vectors = np.frombuffer(digests, np.uint8).reshape(len(texts), -1) - np.float32(127.5)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), sum(len(text) > 60 for text in texts)

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        return self.encode([str(token) for token in token_ids])[0]


class InterruptedTeacher:
    """A teacher that is interrupted after some calls."""

    def __init__(self, teacher: Teacher, calls: int):
        self.teacher, self.calls = teacher, calls

    def __getattr__(self, name: str) -> object:
        return getattr(self.teacher, name)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        if not self.calls:
            raise KeyboardInterrupt
        self.calls -= 1
        return self.teacher.encode(texts)


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "sentence": 2, "number": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def quick_corpus(folder: Path, shards: int = 20, rows: int = 16) -> Corpus:
    texts = folder.with_name(folder.name + ".txt")
    texts.parent.mkdir(parents=True, exist_ok=True)
    texts.write_text("\n".join(f"sentence number {n}" + " word" * (n % 20) for n in range(shards * rows)))
    return build_corpus([str(texts)], folder, rows_per_shard=rows)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def embed_and_tokenize(folder: Path, seconds: float = 0.002, log: Path | None = None) -> None:
    corpus = Corpus(folder / "corpus", {}, [16] * 20)
    embed_corpus(corpus, QuickTeacher(seconds, log), folder / "store").tokens(word_tokenizer(), 8)


def embed_with_the_teacher(folder: Path, *stores: str) -> None:
    from asterisk.teachers.encoder import SentenceTransformerTeacher

    teacher = SentenceTransformerTeacher(TEACHER, dtype="float32", device="cpu")
    for store in stores:
        embed_corpus(Corpus(folder / "corpus", {}, [16] * 20), teacher, folder / store)


def quick_teacher(rank: int, log: Path, seconds: float = 0.0) -> QuickTeacher:
    return QuickTeacher(seconds, log)
