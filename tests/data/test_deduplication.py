"""Sentences that say the same are told from those that do not, in bounded memory."""

import random

from asterisk.data.deduplication import SeenKeys, sentence_key


def test_sentences_that_differ_in_words_have_different_keys() -> None:
    assert sentence_key("Two pears.") == sentence_key("two   PEARS")
    assert len({sentence_key(text) for text in ["two pears", "twopears", "two pear", "!?", "?!", "日本", "日木"]}) == 7


def test_compact_set_tells_old_keys_from_new_ones_across_its_merges() -> None:
    keys = [random.Random(seed).randbytes(8) for seed in range(50_000)]
    compact = SeenKeys()
    assert all(compact.add(key) for key in keys)
    assert not any(compact.add(key) for key in keys)
