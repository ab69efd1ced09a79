"""A student maps its embeddings to the space of its teachers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asterisk.distillation.projection import in_teacher_space, stored_projection, with_teacher_spaces
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskModel
from tests.support.models import make_model

SPACES = [("small", 48), ("large", 80)]


@pytest.fixture
def student(tmp_path: Path, teacher: SentenceTransformerTeacher) -> tuple[AsteriskModel, np.ndarray]:
    plain = make_model()
    width = plain.config.embedding_size
    projection = np.linalg.qr(np.random.default_rng(0).normal(size=(128, width)))[0].astype(np.float32)
    model = with_teacher_spaces(plain, projection, SPACES)
    save_student(model, student_tokenizer(teacher, 64), tmp_path / "model")
    return AsteriskModel.from_pretrained(tmp_path / "model"), projection


def test_embeddings_lie_in_the_space_of_the_named_teacher(student: tuple[AsteriskModel, np.ndarray]) -> None:
    model, projection = student
    texts = ["a cat", "a dog sleeps"]
    vectors = model.encode(texts)
    for space, part in (("small", projection[:48]), ("large", projection[48:]), ("teacher", projection[:48])):
        wanted = vectors @ part.T
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(model.encode(texts, space=space), wanted, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"projection_dim": None, "exit_layers": [1]}], ids=["projected", "plain"])
def test_model_in_a_teachers_space_needs_no_map(teacher: SentenceTransformerTeacher, changes: dict[str, Any]) -> None:
    plain = make_model(**changes)
    projection = np.random.default_rng(0).normal(size=(128, plain.config.embedding_size)).astype(np.float32)
    student = with_teacher_spaces(plain, projection, SPACES)
    tokenizer = student_tokenizer(teacher, 64)
    for space, size in (("teacher", 48), ("large", 80)):
        vectors = in_teacher_space(student, space).encode(["a cat", ""], tokenizer=tokenizer)
        assert vectors.shape == (2, size)
        wanted = student.encode(["a cat", ""], tokenizer=tokenizer, space=space)
        np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    with pytest.raises(ValueError, match="its spaces are small, large"):
        in_teacher_space(student, "medium")


def test_stored_maps_give_the_projection_back(student: tuple[AsteriskModel, np.ndarray]) -> None:
    model, projection = student
    stored = stored_projection(model)
    assert stored is not None
    np.testing.assert_allclose(stored, projection, atol=1e-6)
    assert stored_projection(AsteriskModel(model.config.__class__(vocab_size=10))) is None


def test_wrong_space_is_refused(student: tuple[AsteriskModel, np.ndarray]) -> None:
    model, _ = student
    with pytest.raises(ValueError, match=r"no space 'medium'; its teachers are small, large"):
        model.encode("a", space="medium")
    with pytest.raises(ValueError, match="exclude each other"):
        model.encode("a", space="small", truncate_dim=8)
    with pytest.raises(ValueError, match="stores no map"):
        AsteriskModel(model.config.__class__(vocab_size=10)).encode("a", space="teacher")


def test_maps_add_no_parameters(student: tuple[AsteriskModel, np.ndarray]) -> None:
    model, _ = student
    assert [tuple(pair) for pair in model.config.teacher_spaces or ()] == SPACES
    assert not [name for name, _ in model.named_parameters() if "teacher" in name]
    assert torch.equal(model.truncated(2).state_dict()["teacher_map_1"], model.state_dict()["teacher_map_1"])
