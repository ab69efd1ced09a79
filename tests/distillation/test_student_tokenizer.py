"""The student's tokenizer is the teacher's, extends it, or is another one."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from transformers import (
    AutoTokenizer,
)

from asterisk.core.errors import UserError
from asterisk.distillation.student import new_student, token_vectors
from asterisk.distillation.student_tokenizer import add_separator, student_tokenizer
from asterisk.models.checkpoints import load_student, save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import GPT2_FOLDER, REPOSITORY, needs_gpt2
from tests.support.small_teachers import PrecomputedTeacher, WordPieceTeacher

TEXTS = ["A man is playing a guitar.", "Rain.", "", "The quick brown fox jumps over a lazy dog, again and again."]


def test_default_tokenizer_is_the_teachers(teacher: SentenceTransformerTeacher, sentences: list[str]) -> None:
    tokenizer = student_tokenizer(teacher, max_length=128)
    for text in [*sentences[::200], "", "  naïve café 北京 🙂 "]:
        assert tokenizer(text)["input_ids"] == teacher.tokenizer(text)["input_ids"]
    assert tokenizer.pad_token == teacher.tokenizer.pad_token
    assert np.isfinite(tokenizer.model_max_length)


@pytest.mark.slow
@needs_gpt2
def test_gpt2_tokenizer_is_that_of_the_paper(teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    """The ids of a text are those GPT-2 published, the paper's two entries follow, and saving changes nothing."""
    tokenizer = student_tokenizer(teacher, 128, f"gpt2:{GPT2_FOLDER}")
    assert len(tokenizer) == AsteriskConfig().vocab_size == 50_259
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id) == (50_257, 50_258)
    config = AsteriskConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    save_student(new_student(config, None, tokenizer), tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    for found in (tokenizer, saved):
        assert found("Hello world")["input_ids"] == [15496, 995]
        assert found("hi[MASK]<|endoftext|>")["input_ids"] == [5303, 50_257, 50_256]
        assert found(["Hello world", ""], padding=True)["input_ids"] == [[15496, 995], [50_258, 50_258]]
        assert found.decode(found("naïve 北京 🙂")["input_ids"]) == "naïve 北京 🙂"
        assert (found.model_max_length, list(found.model_input_names)) == (128, ["input_ids", "attention_mask"])
    embeddings = cast(AsteriskModel, load_student(tmp_path / "student")).encode(["", "Hello world"])
    assert not embeddings[0].any()
    assert np.linalg.norm(embeddings[1]) == pytest.approx(1)


def test_extended_tokenizer_gives_frequent_words_the_teachers_vectors_of_them(tmp_path: Path) -> None:
    teacher = WordPieceTeacher()
    own = len(teacher.tokenizer)
    texts = ["Rain, rain and a rainbow.", "A RAINBOW, and snow", "And snow again", "once"]
    tokenizer = student_tokenizer(cast(Any, teacher), 64, f"extended:{own + 3}", texts)
    # Words the teacher splits: and (3), rainbow (2), snow (2); "again" and "once" occur once.
    assert tokenizer.convert_ids_to_tokens([own, own + 1, own + 2]) == ["and", "rainbow", "snow"]
    assert len(tokenizer) == own + 3
    assert tokenizer.convert_ids_to_tokens(tokenizer("rain and rainbows")["input_ids"]) == (
        ["[CLS]", "rain", "and", "rainbow", "##s"]
    )
    # A truncated text equals its start, because no token follows a text.
    cut = tokenizer("rain rain rain", truncation=True, max_length=3)["input_ids"]
    assert cut == tokenizer("rain rain")["input_ids"]
    assert tokenizer("")["input_ids"] == [tokenizer.cls_token_id]
    vectors, known = token_vectors(cast(Any, teacher), tokenizer)
    assert known.all()
    np.testing.assert_array_equal(vectors[:own], teacher.encode_tokens(list(range(own))))
    np.testing.assert_array_equal(vectors[own:], teacher.encode(["and", "rainbow", "snow"])[0])
    model = new_student(AsteriskConfig(vocab_size=len(tokenizer), hidden_size=16), cast(Any, teacher), tokenizer)
    save_student(model, tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    assert saved(texts)["input_ids"] == tokenizer(texts)["input_ids"]


def test_separator_surrounds_every_text_and_pair(tmp_path: Path) -> None:
    teacher = WordPieceTeacher()
    tokenizer = student_tokenizer(cast(Any, teacher), 64, f"extended:{len(teacher.tokenizer) + 3}", ["rain and snow"])
    add_separator(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert saved.decode(saved("rain")["input_ids"]) == "[CLS] rain [SEP]"
    assert saved.decode(saved("rain", "rain")["input_ids"]) == "[CLS] rain [SEP] rain [SEP]"
    # The separator survives truncation.
    assert saved.decode(saved("rain rain rain", truncation=True, max_length=4)["input_ids"]) == "[CLS] rain rain [SEP]"


def test_separator_needs_its_tokens(sentences: list[str]) -> None:
    tokenizer = student_tokenizer(cast(Any, WordPieceTeacher()), 64, "trained:400", sentences)
    with pytest.raises(UserError, match="a cls_token and a sep_token; the student's has neither"):
        add_separator(tokenizer)


@pytest.mark.parametrize("size", ["", "-5", "60", "many"])
def test_extended_size_must_exceed_the_teachers(size: str) -> None:
    with pytest.raises(UserError, match=f"above the teacher's 60, not '{size}'"):
        student_tokenizer(cast(Any, WordPieceTeacher()), 64, f"extended:{size}", TEXTS)


def test_only_wordpiece_vocabularies_are_extended(sentences: list[str]) -> None:
    teacher = WordPieceTeacher()
    teacher.tokenizer.add_tokens(["<entity>"])
    with pytest.raises(UserError, match="1 of its tokens lie outside that vocabulary"):
        student_tokenizer(cast(Any, teacher), 64, "extended:500", TEXTS)
    teacher.tokenizer = student_tokenizer(cast(Any, teacher), 64, "trained:400", sentences)
    with pytest.raises(UserError, match="the teacher's is BPE"):
        student_tokenizer(cast(Any, teacher), 64, "extended:500", sentences)


@pytest.mark.slow
def test_trained_tokenizer_is_the_same_in_every_process(sentences: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(sentences), encoding="utf-8")
    script = (
        "import sys; from types import SimpleNamespace; from pathlib import Path\n"
        "from asterisk.distillation.student_tokenizer import student_tokenizer\n"
        "texts = Path(sys.argv[1]).read_text(encoding='utf-8').splitlines()\n"
        "found = student_tokenizer(SimpleNamespace(name='an API'), 64, 'trained:3000', texts)\n"
        "sys.stdout.write(found.backend_tokenizer.to_str())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "texts.txt")]
    there = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().strip()
    here = student_tokenizer(cast(Any, SimpleNamespace(name="an API")), 64, "trained:3000", sentences)
    assert len(there) > 10_000
    assert there == here.backend_tokenizer.to_str()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("teacher", "vectors.npy has no tokenizer"),
        ("trained:many", "at least 258, not 'many'"),
        ("trained:100", "at least 258, not '100'"),
        ("trained:1000", "too little text"),
        ("gpt2:recipes", "recipes holds neither encoder.json"),
        ("./nowhere", "no model folder ./nowhere"),
        ("./recipes", "tokenizer ./recipes cannot be loaded"),
    ],
)
def test_unusable_tokenizer_is_refused(spec: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UserError, match=message):
        student_tokenizer(cast(Any, PrecomputedTeacher()), 64, spec)
