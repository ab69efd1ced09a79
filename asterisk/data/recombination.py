"""Text that no source has, made of its sentences: phrases of them, and crossings of two.

A student learns to put words together from texts that put them together in more ways than the corpus does; the teacher
says what each means, whether or not it is good English. (HPD, Zhao et al. 2022, substitutes words and translates back
and forth, to the same end.)
"""

import math
import random
from collections.abc import Iterator, Sequence

# Words of a phrase, at most; the fewer, the more often: their logarithm is drawn evenly.
PHRASE_WORDS = 16
# Words of a sentence that is crossed with another.
CROSSED_WORDS = (4, 24)
# Where a sentence is cut, as shares of its words.
CUTS = (0.3, 0.7)


def phrases(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Runs of 1 to 16 words out of as many of the sentences, always the same ones."""
    generator = random.Random(0)
    for sentence in generator.sample(sentences, min(number, len(sentences))):
        words = sentence.split()
        length = min(len(words), int(math.exp(generator.uniform(0, math.log(PHRASE_WORDS + 1)))))
        first = generator.randint(0, len(words) - length)
        yield " ".join(words[first : first + length])


def crossings(sentences: Sequence[str], number: int) -> Iterator[str]:
    """Beginnings of sentences with the ends of others, always the same ones; none of long or very short sentences."""
    generator = random.Random(0)
    shortest, longest = CROSSED_WORDS
    parts = [words for words in map(str.split, sentences) if shortest <= len(words) <= longest]
    for _ in range(number if len(parts) > 1 else 0):
        first, second = generator.sample(parts, 2)
        beginning, end = (round(len(words) * generator.uniform(*CUTS)) for words in (first, second))
        yield " ".join(first[:beginning] + second[end:])
