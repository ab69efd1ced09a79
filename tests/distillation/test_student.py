"""A new student starts from the teacher's vectors of its tokens, under any tokenizer."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import (
    AutoTokenizer,
)

from asterisk.core.errors import UserError
from asterisk.distillation.student import TABLE_STD, new_student, token_strings, views_are_equal
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import GPT2_FOLDER, needs_gpt2, soak
from tests.support.small_teachers import PrecomputedTeacher

TEXTS = ["A man is playing a guitar.", "Rain.", "", "The quick brown fox jumps over a lazy dog, again and again."]


@soak  # The teacher embeds 30,000 tokens. The tests below embed few.
def test_token_table_starts_from_the_teachers_vectors(teacher: SentenceTransformerTeacher) -> None:
    tokenizer = student_tokenizer(teacher, max_length=128)
    model = new_student(AsteriskConfig(vocab_size=len(tokenizer)), teacher, tokenizer)
    table = model.embeddings.embed_tokens.weight.detach()
    assert table.std().item() == pytest.approx(TABLE_STD, rel=1e-3)
    assert table.mean(dim=0).abs().max() < 1e-6
    rain, snow, chess = table[torch.tensor(tokenizer.convert_tokens_to_ids(["rain", "snow", "chess"]))]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(rain, snow, dim=0) > cosine(rain, chess, dim=0) + 0.2


@needs_gpt2
def test_tokens_stand_for_their_strings(teacher: SentenceTransformerTeacher) -> None:
    gpt2 = student_tokenizer(teacher, 128, f"gpt2:{GPT2_FOLDER}")
    strings = token_strings(gpt2)
    for token, string in [("rain", "rain"), ("Ġrain", "rain"), ("Ġ", ""), ("[PAD]", ""), ("Ã©", "é"), ("Ã", "")]:
        assert strings[gpt2.get_vocab()[token]] == string
    word_piece = student_tokenizer(teacher, 128)
    strings = token_strings(word_piece)
    for token, string in [("rain", "rain"), ("##ing", "ing"), ("[CLS]", ""), ("#", "#")]:
        assert strings[word_piece.get_vocab()[token]] == string


@pytest.mark.slow
def test_trained_tokenizer_starts_from_the_teachers_vectors_of_its_strings(
    teacher: SentenceTransformerTeacher, sentences: list[str], tmp_path: Path
) -> None:
    tokenizer = student_tokenizer(teacher, 64, "trained:2000", sentences)
    assert len(tokenizer) == 2_000
    # The teacher ignores case, and a word is one token wherever it stands.
    assert tokenizer("People and people")["input_ids"] == tokenizer("people AND people")["input_ids"]
    assert len(set(tokenizer("people people")["input_ids"])) == 1
    model = new_student(AsteriskConfig(vocab_size=2_000), teacher, tokenizer)
    table = model.embeddings.embed_tokens.weight.detach()
    assert table[table.any(dim=1)].std().item() == pytest.approx(TABLE_STD, rel=1e-3)
    assert not table[tokenizer.pad_token_id].any()
    three, four, music = table[[tokenizer(word)["input_ids"][0] for word in ("three", "four", "music")]]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(three, four, dim=0) > cosine(three, music, dim=0) + 0.2
    save_student(model, tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    assert saved(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_table_from_precomputed_vectors_is_refused(sentences: list[str]) -> None:
    teacher = cast(Any, PrecomputedTeacher())
    tokenizer = student_tokenizer(teacher, 64, "trained:1000", sentences)
    assert tokenizer("Rain")["input_ids"] != tokenizer("rain")["input_ids"]
    with pytest.raises(UserError, match="--table random"):
        new_student(AsteriskConfig(vocab_size=1_000), teacher, tokenizer)
    assert new_student(AsteriskConfig(vocab_size=1_000), None, tokenizer).num_parameters() > 0


def test_views_are_equal_without_dropout_only() -> None:
    config = AsteriskConfig(vocab_size=10, hidden_size=32, num_hidden_layers=1, intermediate_size=32)
    assert views_are_equal(AsteriskModel(config))
    config.hidden_dropout_prob = 0.1
    assert not views_are_equal(AsteriskModel(config))
