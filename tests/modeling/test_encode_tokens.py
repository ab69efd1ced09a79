"""`AsteriskModel.encode_tokens` gives every token of a text of any length its vector and its place."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from tests.support.models import make_model

WORDS = " ".join(f"Word{number} rains." for number in range(60))


@pytest.fixture(scope="module")
def tokenizer(teacher: SentenceTransformerTeacher) -> PreTrainedTokenizerFast:
    return student_tokenizer(teacher, max_length=128)


def test_short_text_has_the_vectors_of_a_forward_pass(tokenizer: PreTrainedTokenizerFast) -> None:
    model, text = make_model(), "Schöne  Lieder, two of them."
    vectors, offsets = model.encode_tokens(text, tokenizer=tokenizer)
    inputs = tokenizer(text, return_tensors="pt")
    expected = model(**inputs).last_hidden_state[0].detach()
    assert vectors.dtype == np.float32
    # The tokenizer adds special tokens; their vectors are left out.
    own = [index for index, token in enumerate(inputs.tokens()) if token not in tokenizer.all_special_tokens]
    np.testing.assert_allclose(vectors, expected[own], atol=1e-6)
    words = [text[start:end] for start, end in offsets]
    assert "".join(words) == text.replace(" ", "")


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_text_is_read_in_windows(tokenizer: PreTrainedTokenizerFast, side: str) -> None:
    model = make_model(max_position_embeddings=32)
    own = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str()),
        model_max_length=32,
        truncation_side=side,
        **tokenizer.special_tokens_map,
    )
    vectors, offsets = model.encode_tokens(WORDS, tokenizer=own)
    assert "".join(WORDS[start:end] for start, end in offsets) == WORDS.replace(" ", "")
    assert len(vectors) == len(offsets) > 4 * 32
    # Tokens that lie in one window alone have the vectors of its forward pass, without [CLS] and [SEP].
    inputs = own(WORDS, return_tensors="pt", truncation=True)
    window = model(**inputs).last_hidden_state[0].detach()[1:-1]
    alone = slice(0, 20) if side == "right" else slice(-20, None)
    np.testing.assert_allclose(vectors[alone], window[alone], atol=1e-6)


def test_many_texts_give_one_pair_each_in_their_order(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    texts = ["Rain.", "", WORDS * 3, "Rain."]
    pairs = model.encode_tokens(texts, batch_size=2, tokenizer=tokenizer)
    for text, (vectors, offsets) in zip(texts, pairs, strict=True):
        alone, places = model.encode_tokens(text, tokenizer=tokenizer)
        np.testing.assert_allclose(vectors, alone, atol=1e-6)
        np.testing.assert_array_equal(offsets, places)
    assert pairs[1][0].shape == (0, 48)
    assert pairs[1][1].shape == (0, 2)
    assert model.encode_tokens([], tokenizer=tokenizer) == []


def test_encode_and_encode_tokens_do_not_disturb_each_other_in_threads(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    embeddings, (vectors, _) = (
        model.encode([WORDS * 3], tokenizer=tokenizer),
        model.encode_tokens(WORDS * 3, tokenizer=tokenizer),
    )

    def either(number: int) -> None:
        if number % 2:
            np.testing.assert_array_equal(model.encode([WORDS * 3], tokenizer=tokenizer), embeddings)
        else:
            np.testing.assert_array_equal(model.encode_tokens(WORDS * 3, tokenizer=tokenizer)[0], vectors)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(either, range(16)))


def test_no_tokenizer_is_said() -> None:
    with pytest.raises(ValueError, match="There is no tokenizer"):
        make_model().encode_tokens("a")
