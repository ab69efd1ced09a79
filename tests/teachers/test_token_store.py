"""Token ids of a store are those of the tokenizer, read in place."""

import time
from pathlib import Path

import numpy as np

from asterisk.data.corpus import Corpus
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.token_store import tokenize_corpus
from tests.support.stores import (
    QuickTeacher,
    quick_corpus,
    word_tokenizer,
)


def test_tokens_are_the_tokenizers_and_padded_to_the_longest(
    corpus: Corpus, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    store = embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    tokenizer = student_tokenizer(teacher, max_length=64)
    tokens = store.tokens(tokenizer, 64)
    rows = np.array([299, 0, 130])
    input_ids, mask = tokens.padded(rows)
    # Released pages are read again.
    before = store.embeddings(rows)
    store.release()
    tokens.release()
    np.testing.assert_array_equal(store.embeddings(rows), before)
    expected = tokenizer(store.texts(rows), padding=True, truncation=True, max_length=64, return_tensors="np")
    np.testing.assert_array_equal(input_ids * mask, expected["input_ids"] * expected["attention_mask"])
    np.testing.assert_array_equal(mask, expected["attention_mask"])
    assert tokens.lengths[299] == 64


def test_tokens_of_a_corpus_are_those_of_its_store(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    tokenizer = word_tokenizer()
    expected = embed_corpus(corpus, QuickTeacher(), tmp_path / "store").tokens(tokenizer, 8)
    tokens = tokenize_corpus(corpus, tokenizer, 8, tmp_path / "texts")
    np.testing.assert_array_equal(tokens.lengths, expected.lengths)
    rows = np.random.default_rng(0).permutation(320)
    for found, wanted in zip(tokens.padded(rows), expected.padded(rows), strict=True):
        np.testing.assert_array_equal(found, wanted)
    # The truncation that the tokenizer remembers from its last call does not change the identity.
    tokenize_corpus(corpus, tokenizer, 8, tmp_path / "texts")
    assert len(list((tmp_path / "texts").iterdir())) == 1
    other = quick_corpus(tmp_path / "other", shards=19)
    assert len(tokenize_corpus(other, tokenizer, 8, tmp_path / "texts").lengths) == 304


def test_batch_of_tokens_takes_well_under_a_millisecond(tmp_path: Path) -> None:
    tokens = tokenize_corpus(quick_corpus(tmp_path / "corpus", rows=500), word_tokenizer(), 32, tmp_path / "texts")
    rows = np.random.default_rng(0).permutation(10_000)[:256]
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        tokens.padded(rows)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1e-3
