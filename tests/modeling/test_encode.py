"""`AsteriskModel.encode` takes what people have, keeps its order, and leaves the model as it was."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers.util import quantize_embeddings
from transformers import PreTrainedTokenizerFast

from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskModel
from tests.support.models import make_model

TEXTS = ["A man is playing a guitar.", "", "Rain.", "word " * 500, "A man is playing a guitar."]


@pytest.fixture(scope="module")
def tokenizer(teacher: SentenceTransformerTeacher) -> PreTrainedTokenizerFast:
    return student_tokenizer(teacher, max_length=128)


def test_encode_keeps_the_order_and_agrees_with_forward(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    embeddings = model.encode(TEXTS, batch_size=2, tokenizer=tokenizer)
    assert embeddings.shape == (5, 48)
    assert embeddings.dtype == np.float32
    for text, embedding in zip(TEXTS, embeddings, strict=True):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
        np.testing.assert_allclose(embedding, model(**inputs).pooler_output[0].detach(), atol=1e-6)
    np.testing.assert_allclose(model.encode(TEXTS[2], tokenizer=tokenizer), embeddings[2], atol=1e-6)
    assert model.encode([], tokenizer=tokenizer).shape == (0, 48)


def test_encode_is_the_same_after_other_uses_of_the_tokenizer_and_in_threads(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = make_model()
    expected = model.encode(TEXTS, tokenizer=tokenizer)
    tokenizer(TEXTS, padding="max_length", truncation=True, max_length=3)
    with ThreadPoolExecutor(8) as threads:
        for embeddings in threads.map(lambda _: model.encode(TEXTS, tokenizer=tokenizer), range(32)):
            np.testing.assert_array_equal(embeddings, expected)


def test_forward_passes_hold_each_text_once_with_hardly_any_padding(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model(position_encoding="none")
    shapes: list[tuple[int, int]] = []
    model.embeddings.register_forward_hook(lambda module, args, output: shapes.append(tuple(output.shape[:2])))
    lengths = np.random.default_rng(0).integers(0, 120, 2_000)
    texts = ["word " * length for length in lengths]
    embeddings = model.encode(texts, batch_size=64, tokenizer=tokenizer)
    assert np.isfinite(embeddings).all()
    assert sum(rows for rows, _ in shapes) == len(texts)
    assert all(rows <= 64 and rows * length <= 2_048 for rows, length in shapes)
    tokens = sum(len(ids) for ids in tokenizer(texts)["input_ids"])
    assert sum(rows * length for rows, length in shapes) < 1.05 * tokens


def test_encode_takes_strings_that_are_not_whole_unicode(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    broken = ["rain \ud83e\udd45", "rain \udd45\ud83e", "rain"]
    whole = ["rain \N{GOAL NET}", "rain \ufffd\ufffd", "rain"]
    np.testing.assert_array_equal(model.encode(broken, tokenizer=tokenizer), model.encode(whole, tokenizer=tokenizer))


def test_encode_truncates_dimensions_before_it_normalises(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    whole = model.encode(TEXTS, tokenizer=tokenizer, normalize_embeddings=False)
    assert not np.allclose(np.linalg.norm(whole, axis=1), 1, atol=0.01)
    short = model.encode(TEXTS, tokenizer=tokenizer, truncate_dim=16)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short, whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True), atol=1e-6)


def test_encode_leaves_mode_and_threads_as_they_were(tokenizer: PreTrainedTokenizerFast) -> None:
    model, threads = make_model(hidden_dropout_prob=0.5).train(), torch.get_num_threads()
    np.testing.assert_array_equal(*(model.encode(TEXTS, tokenizer=tokenizer) for _ in range(2)))
    assert model.training
    model.projection = torch.nn.Linear(3, 3)  # fails in the forward pass
    with pytest.raises(RuntimeError):
        model.encode(TEXTS, tokenizer=tokenizer)
    assert model.training
    assert torch.get_num_threads() == threads


def test_encode_takes_any_iterable_of_strings(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    expected = model.encode(TEXTS, tokenizer=tokenizer)
    for texts in (tuple(TEXTS), iter(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS)):
        np.testing.assert_array_equal(model.encode(texts, tokenizer=tokenizer), expected)


def test_encode_takes_numpy_integers_as_sizes(tokenizer: PreTrainedTokenizerFast) -> None:
    sizes: dict[str, Any] = {"batch_size": np.int64(2), "truncate_dim": np.int32(7)}
    embeddings = make_model().encode(TEXTS, tokenizer=tokenizer, **sizes)
    assert embeddings.shape == (5, 7)


def test_encode_takes_the_keywords_of_sentence_transformers(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model()
    expected = model.encode(["to: a", "to: b"], tokenizer=tokenizer)
    options: dict[str, Any] = {"prompt": "to: ", "device": "cpu", "show_progress_bar": None, "tokenizer": tokenizer}
    tensor = model.encode(["a", "b"], convert_to_tensor=True, **options)
    rows = model.encode(["a", "b"], convert_to_numpy=False, **options)
    assert isinstance(tensor, torch.Tensor)
    assert isinstance(rows, list)
    np.testing.assert_array_equal(tensor, expected)
    np.testing.assert_array_equal(torch.stack(rows), expected)
    assert model.encode("a", convert_to_tensor=True, **options).shape == (48,)
    # Gradients of a head flow through a layer on the embeddings.
    torch.nn.Linear(48, 2)(tensor).sum().backward()


@pytest.mark.parametrize("dimensions", [48, 13])
@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_quantised_embeddings_equal_those_of_sentence_transformers(
    tokenizer: PreTrainedTokenizerFast, precision: Any, dimensions: int
) -> None:
    model = make_model()
    options: dict[str, Any] = {"tokenizer": tokenizer, "truncate_dim": dimensions}
    vectors = model.encode(TEXTS, **options)
    expected: Any = quantize_embeddings(vectors, precision)
    found = model.encode(TEXTS, precision=precision, **options)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    # The ranges of other texts, which these exceed.
    ranges = np.stack([vectors[:2].min(axis=0), vectors[:2].max(axis=0)])
    one = model.encode(TEXTS[3], precision=precision, ranges=ranges, convert_to_tensor=True, **options)
    alone = model.encode(TEXTS[3:4], **options)
    np.testing.assert_array_equal(one, quantize_embeddings(alone, precision, ranges=ranges)[0])
    assert len(model.encode([], precision=precision, **options)) == 0


def test_wrong_precisions_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="precision must be float32, int8, uint8, binary, ubinary, not 'int4'"):
        make_model().encode(TEXTS, precision="int4", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="The int8 of one text needs ranges"):
        make_model().encode("rain", precision="int8", tokenizer=tokenizer)


def test_unknown_keyword_lists_those_that_exist(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TypeError, match="no argument pooling_mode; it takes") as error:
        make_model().encode("a", pooling_mode="cls", tokenizer=tokenizer)
    names = [name for name in inspect.signature(AsteriskModel.encode).parameters if name not in ("self", "unknown")]
    assert f"it takes {', '.join(names[:-1])} and {names[-1]}." in str(error.value)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"text": "a"}, "not dict; select the texts"),
        (pd.DataFrame({"text": ["a"]}), "not DataFrame; select the texts"),
        ({"a", "b"}, "not set; a set has no order"),
        (None, "not NoneType; drop or fill in missing values"),
        (b"a", "not bytes; decode it"),
        (3, "not int; give a string"),
        (["a", None], "text 1 is of type NoneType; drop or fill in"),
        (["a", float("nan")], "text 1 is of type float; drop or fill in"),
        (["a", b"a"], "text 1 is of type bytes; decode it"),
        (["a", 3], "text 1 is of type int"),
        ([{"text": "a"}], "text 0 is of type dict; select the texts"),
        (np.array([["a", "b"]]), "text 0 is of type ndarray"),
    ],
)
def test_encode_says_what_would_be_right_instead_of_other_types(
    tokenizer: PreTrainedTokenizerFast, texts: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        make_model().encode(texts, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"truncate_dim": 49}, ValueError, "between 1 and 48"),
        ({"truncate_dim": 2.5}, TypeError, "truncate_dim must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"tokenizer": None}, ValueError, "was not loaded from a folder or the Hub; pass encode"),
    ],
)
def test_encode_refuses_wrong_arguments(
    tokenizer: PreTrainedTokenizerFast, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_model().encode("a", **{"tokenizer": tokenizer, **arguments})


def test_text_without_any_token_embeds_as_zeros(tokenizer: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, model_max_length=128)
    bare.backend_tokenizer.post_processor = None
    embeddings = make_model().encode(["", "a"], tokenizer=bare)
    assert not embeddings[0].any()
    assert embeddings[1].any()
