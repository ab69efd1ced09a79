"""A small store of the demo corpus and its teacher's vectors."""

import pytest

from asterisk.data.corpus import build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore


@pytest.fixture(scope="session")
def store(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[str], teacher: SentenceTransformerTeacher
) -> EmbeddingStore:
    folder = tmp_path_factory.mktemp("distillation")
    (folder / "a.txt").write_text("\n".join(sentences[::4]))
    return embed_corpus(build_corpus([str(folder / "a.txt")], folder / "store" / "corpus"), teacher, folder / "store")
