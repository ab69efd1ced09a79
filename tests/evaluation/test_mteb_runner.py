"""Encoders behind MTEB's interface."""

from pathlib import Path

import mteb
import numpy as np
import pytest
from mteb.types import PromptType

from asterisk.core.errors import UserError
from asterisk.distillation.projection import with_teacher_spaces
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.evaluation.mteb_runner import MtebEncoder
from asterisk.models.checkpoints import save_student
from asterisk.models.load import load_encoder
from asterisk.teachers.encoder import SentenceTransformerTeacher
from tests.support.models import make_model
from tests.support.paths import TEACHER


def test_each_text_of_a_task_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(TEACHER)
    embedded: list[list[str]] = []
    embed = encoder.encode

    def encode(texts: list[str], **options: object) -> np.ndarray:
        embedded.append(texts)
        return embed(texts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "encode", encode)
    model = MtebEncoder(encoder)
    calls = [["a cat", "a dog", "a cat"], ["a bird", "a dog"], []]
    metadata = mteb.get_task("STS12").metadata
    for texts in calls:
        vectors = model.encode([{"text": texts}], task_metadata=metadata)
        np.testing.assert_allclose(vectors, embed(texts), atol=1e-6)
    assert embedded == [["a cat", "a dog"], ["a bird"], []]
    model.encode([{"text": ["a dog"]}], task_metadata=mteb.get_task("STS13").metadata)
    assert embedded[-1] == ["a dog"]


def test_documents_may_have_an_encoder_of_their_own(tmp_path: Path, teacher: SentenceTransformerTeacher) -> None:
    documents = load_encoder(TEACHER)
    tokenizer = student_tokenizer(teacher, 32)
    plain = make_model(vocab_size=len(tokenizer), max_position_embeddings=32)
    projection = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 48)))[0].astype(np.float32)
    save_student(with_teacher_spaces(plain, projection, [("all-MiniLM-L6-v2", 384)]), tokenizer, tmp_path / "student")
    queries = load_encoder(str(tmp_path / "student"), space="all-MiniLM-L6-v2")
    model = MtebEncoder(queries, documents)
    metadata = mteb.get_task("SciFact").metadata
    texts = ["a cat", "a dog"]
    for prompt_type, encoder in ((PromptType.query, queries), (PromptType.document, documents)):
        vectors = model.encode([{"text": texts}], task_metadata=metadata, prompt_type=prompt_type)
        np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-6)
    assert model.mteb_model_meta.revision not in (queries.revision, documents.revision)
    assert load_encoder(str(tmp_path / "student")).revision != queries.revision


def test_only_an_asterisk_maps_to_a_teachers_space() -> None:
    with pytest.raises(UserError, match="stores no map to the space of some-teacher"):
        load_encoder(TEACHER, space="some-teacher")
