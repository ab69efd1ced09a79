"""A small store of the demo corpus and its teacher's vectors."""

from pathlib import Path

import pytest

from asterisk.data.corpus import build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.made_once import made_once


@pytest.fixture(scope="session")
def store(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[str], teacher: SentenceTransformerTeacher
) -> EmbeddingStore:
    def make(folder: Path) -> None:
        (folder / "a.txt").write_text("\n".join(sentences[::4]))
        corpus = build_corpus([str(folder / "a.txt")], folder / "store" / "corpus")
        embed_corpus(corpus, teacher, folder / "store")

    return EmbeddingStore(made_once(tmp_path_factory, "distillation", make) / "store")
