"""Texts made of a source's sentences: phrases of one, and crossings of two.

A student learns composition from texts that combine words in more ways than the corpus does; the teacher embeds them,
whether or not they are good English. (HPD, Zhao et al. 2022, augments by word substitution and back-translation for
the same reason.)
"""

import math
import random
from collections.abc import Iterator, Sequence

# Largest number of words of a phrase. The logarithm of the length is drawn uniformly, so that short ones prevail.
PHRASE_WORDS = 16
# Words of a sentence that takes part in a crossing.
CROSSED_WORDS = (4, 24)
# Where a sentence is cut, as shares of its words.
CUTS = (0.3, 0.7)


def make_phrases(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Runs of 1 to 16 words, each from another sentence; always the same ones for the same sentences."""
    generator = random.Random(0)
    for sentence in generator.sample(sentences, min(number, len(sentences))):
        words = sentence.split()
        length = min(len(words), int(math.exp(generator.uniform(0, math.log(PHRASE_WORDS + 1)))))
        first = generator.randint(0, len(words) - length)
        yield " ".join(words[first : first + length])


def make_crossings(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Beginnings of sentences joined to the ends of others; always the same ones for the same sentences."""
    generator = random.Random(0)
    shortest, longest = CROSSED_WORDS
    parts = [words for words in map(str.split, sentences) if shortest <= len(words) <= longest]
    for _ in range(number if len(parts) > 1 else 0):
        first, second = generator.sample(parts, 2)
        beginning, end = (round(len(words) * generator.uniform(*CUTS)) for words in (first, second))
        yield " ".join(first[:beginning] + second[end:])
