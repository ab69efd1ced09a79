"""Recombined texts: phrases cut from one sentence, and crossings of two.

A student learns composition from texts that combine words in more ways than the corpus does. The teacher can embed
them even if they are not good English. (HPD, Zhao et al. 2022, augments its data by word substitution and
back-translation for the same reason.)
"""

import math
import random
from collections.abc import Iterator, Sequence

# Maximum number of words in a phrase. The logarithm of the length is drawn uniformly, which favours short phrases.
PHRASE_WORDS = 16
# Range of words in a sentence that is used in a crossing.
CROSSED_WORDS = (4, 24)
# Range of the cut point, as a share of the sentence's words.
CUTS = (0.3, 0.7)


def make_phrases(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Cut runs of 1 to 16 words, each from a different sentence, reproducibly."""
    generator = random.Random(0)
    for sentence in generator.sample(sentences, min(number, len(sentences))):
        words = sentence.split()
        length = min(len(words), int(math.exp(generator.uniform(0, math.log(PHRASE_WORDS + 1)))))
        first = generator.randint(0, len(words) - length)
        yield " ".join(words[first : first + length])


def make_crossings(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Join the beginnings of sentences to the ends of others, reproducibly."""
    generator = random.Random(0)
    shortest, longest = CROSSED_WORDS
    candidates = [words for words in map(str.split, sentences) if shortest <= len(words) <= longest]
    for _ in range(number if len(candidates) > 1 else 0):
        first, second = generator.sample(candidates, 2)
        beginning, end = (round(len(words) * generator.uniform(*CUTS)) for words in (first, second))
        yield " ".join(first[:beginning] + second[end:])
