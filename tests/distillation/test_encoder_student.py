"""An existing encoder trains as a student and is saved as a sentence-transformers model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import (
    AutoModel,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from asterisk.core.errors import UserError
from asterisk.distillation.encoder_student import EncoderStudent
from asterisk.models.checkpoints import load_student, save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from tests.support.paths import REPOSITORY, TEACHER

TEXTS = ["A man is playing a guitar.", "Rain.", "", "The quick brown fox jumps over a lazy dog, again and again."]


def test_unchanged_encoder_gives_its_own_embeddings(teacher: SentenceTransformerTeacher) -> None:
    student = EncoderStudent(TEACHER, max_length=256)
    np.testing.assert_allclose(student.encode(TEXTS), teacher.encode(TEXTS)[0], atol=1e-5)
    assert student.encode("Rain.", truncate_dim=100).shape == (100,)
    assert np.linalg.norm(student.encode("Rain.", truncate_dim=100)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "layers", "dimensions"),
    [
        ({"keep_layers": [0, 5]}, 2, 384),
        pytest.param({"projection_dim": 128}, 6, 128, id="HPD"),
        pytest.param({"average_layers": 4}, 6, 384, id="DistilFACE"),
        (
            {
                "keep_layers": [0, 2, 5],
                "average_layers": 2,
                "pooling": "cls",
                "projection_dim": 16,
                "activation": "linear",
            },
            3,
            16,
        ),
        ({"pooling": "max", "keep_layers": [1]}, 1, 384),
    ],
)
def test_saved_encoder_gives_the_trained_embeddings(
    options: dict[str, Any], layers: int, dimensions: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    student = EncoderStudent(TEACHER, max_length=64, **options).eval()
    assert student.encoder.config.num_hidden_layers == layers
    assert student.config.embedding_size == dimensions
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = student(**inputs)
    assert output.last_hidden_state.shape == (*inputs["input_ids"].shape, 384)
    np.testing.assert_allclose(output.pooler_output.norm(dim=-1), 1, atol=1e-6)
    save_student(student, student.tokenizer, tmp_path / "student")
    saved = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(saved.encode(TEXTS), output.pooler_output, atol=1e-5)
    np.testing.assert_allclose(student.encode(TEXTS), output.pooler_output, atol=1e-5)
    assert saved.max_seq_length == 64


def test_token_vectors_are_the_mean_of_the_last_layers() -> None:
    student = EncoderStudent(TEACHER, average_layers=4).eval()
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden_states = EncoderStudent(TEACHER).eval().encoder(**inputs, output_hidden_states=True).hidden_states
        found = student(**inputs).last_hidden_state
    torch.testing.assert_close(found, (sum(hidden_states[-4:]) / 4), atol=1e-5, rtol=0)


def test_encoder_trains_with_dropout_and_a_gradient_for_every_weight() -> None:
    """SimCSE needs dropout, and distributed training fails on a weight without a gradient."""
    student = EncoderStudent(TEACHER, keep_layers=[0, 5], projection_dim=32).train()
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    first, second = student(**inputs).pooler_output, student(**inputs).pooler_output
    assert (first - second).abs().max() > 1e-3
    first[:, 0].sum().backward()
    assert [name for name, weight in student.named_parameters() if weight.requires_grad and weight.grad is None] == []
    before = student.encode(TEXTS)
    assert student.training
    student.set_attn_implementation("eager")
    np.testing.assert_allclose(student.encode(TEXTS), before, atol=1e-5)


SMALL: dict[str, Any] = {"vocab_size": 30_522, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
MODERN_BERT = ModernBertConfig(**SMALL, num_hidden_layers=4, initializer_range=0.5, pad_token_id=0)


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(vocab_size=30_522, dim=32, n_layers=4, n_heads=2, hidden_dim=64, initializer_range=0.5),
        RobertaConfig(**SMALL, num_hidden_layers=4, max_position_embeddings=130, initializer_range=0.5),
        MODERN_BERT,
    ],
    ids=lambda config: config.model_type,
)
def test_other_architectures_keep_selected_layers(
    config: PreTrainedConfig, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    AutoModel.from_config(config).save_pretrained(tmp_path / "encoder")
    teacher.tokenizer.save_pretrained(tmp_path / "encoder")
    student = EncoderStudent(str(tmp_path / "encoder"), keep_layers=[0, 3]).eval()
    save_student(student, student.tokenizer, tmp_path / "student")
    saved = load_student(tmp_path / "student")
    np.testing.assert_allclose(saved.encode(TEXTS), student.encode(TEXTS), atol=1e-5)
    whole = EncoderStudent(str(tmp_path / "encoder"))
    assert np.abs(whole.encode(TEXTS) - student.encode(TEXTS)).max() > 1e-3


def test_layers_that_do_not_fit_are_refused(teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    AutoModel.from_config(MODERN_BERT).save_pretrained(tmp_path / "encoder")
    teacher.tokenizer.save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match="keep layer 0 too"):
        EncoderStudent(str(tmp_path / "encoder"), keep_layers=[1, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "./nowhere"}, "no model folder ./nowhere"),
        ({"encoder": "./recipes"}, "folder recipes has neither config.json, modules.json nor"),
        ({"keep_layers": [0, 6]}, "distinct numbers from 0 to 5 in ascending order"),
        ({"keep_layers": [5, 0]}, "ascending order"),
        ({"average_layers": 8}, "between 1 and 7"),
        ({"pooling": "median"}, "must be one of mean, cls, max"),
        ({"projection_dim": 8, "activation": "relu"}, "must be one of tanh, linear"),
    ],
)
def test_unusable_encoder_is_refused(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UserError, match=message):
        EncoderStudent(**{"encoder": TEACHER, **options})


def test_failed_save_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = EncoderStudent(TEACHER, keep_layers=[0])
    monkeypatch.setattr(type(student.tokenizer), "save_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_student(student, student.tokenizer, tmp_path / "new" / "student")
    assert list(tmp_path.iterdir()) == []
