"""Sentences that say the same are told from those that do not, in bounded memory."""

import lzma
import random

import pytest

from asterisk.data.deduplication import NearDuplicates, SeenKeys, sentence_key, word_pairs
from tests.support.paths import DEMO_CORPUS


def test_sentences_that_differ_in_words_have_different_keys() -> None:
    assert sentence_key("Two pears.") == sentence_key("two   PEARS")
    assert len({sentence_key(text) for text in ["two pears", "twopears", "two pear", "!?", "?!", "日本", "日木"]}) == 7


def test_compact_set_tells_old_keys_from_new_ones_across_its_merges() -> None:
    keys = [random.Random(seed).randbytes(8) for seed in range(50_000)]
    compact = SeenKeys()
    assert all(compact.add(key) for key in keys)
    assert not any(compact.add(key) for key in keys)


def alike(first: str, second: str) -> float:
    """The Jaccard similarity of two sentences' word pairs."""
    pairs, ends = word_pairs([first, second])
    one, other = set(pairs[: ends[1]].tolist()), set(pairs[ends[1] :].tolist())
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_near_duplicates_of_real_sentences_are_found_and_nothing_else_is_dropped(threshold: float) -> None:
    lines = lzma.decompress((DEMO_CORPUS / "wikinews.txt.xz").read_bytes()).decode().splitlines()
    generator = random.Random(0)
    changed = {}
    for line in lines[:2000]:
        words = line.split()
        words[generator.randrange(len(words))] = "elsewhere"
        changed[" ".join(words)] = line
    near = NearDuplicates(threshold)
    everything = [*lines, *changed]
    kept = {
        text for first in range(0, len(everything), 4096) for text in near.unlike(everything[first : first + 4096])
    }
    similar = {text for text, line in changed.items() if line in kept and alike(text, line) >= threshold}
    assert len(similar) > 400
    assert len(similar & kept) <= 0.02 * len(similar)
    dissimilar = [text for text, line in changed.items() if alike(text, line) < threshold - 0.1]
    assert len(dissimilar) > 40
    assert sum(text in kept for text in dissimilar) >= 0.97 * len(dissimilar)
