"""Which sentences say the same: exact duplicates by an eight-byte key, near-duplicates by their word pairs."""

import bisect
import hashlib
import math
import re
import zlib
from array import array

import numpy as np

_NOT_A_WORD = re.compile(r"[\W_]+")


def sentence_key(sentence: str) -> bytes:
    """Eight bytes that are equal for sentences that differ only in case, punctuation and white space."""
    # A line of symbols alone has no words to be recognised by.
    return hashlib.blake2b(
        (_words(sentence) or sentence.strip()).encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()


class NearDuplicates:
    """Tells sentences whose sets of word pairs are alike, in one pass.

    MinHash with banding (Broder 1997; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3) proposes
    candidates; each is compared exactly, so that none is dropped that is less similar than the threshold. A band's
    table holds one sentence per slot, the latest. Together this misses one or two in a hundred from a threshold of 0.7
    upwards, and more below: one in seven at 0.5.

    Memory: 4 bytes a word pair, 8 a sentence, and 16 tables of 4 bytes in the two to four slots there are a sentence:
    0.2 to 0.3 kB a sentence of English.
    """

    BANDS = 16
    CHUNK = 4_096

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        # As many minima a band as let all bands miss a pair at the threshold once in a hundred; more cost only time.
        wanted = 1 - 0.01 ** (1 / self.BANDS)
        self.rows = max(2, min(8, round(math.log(wanted) / math.log(threshold)))) if threshold < 1 else 8
        random = np.random.default_rng(0)
        self.multipliers = random.integers(1 << 63, size=self.BANDS * self.rows, dtype=np.uint64) * 2 + 1
        self.pairs = array("I")  # the hashed word pairs of all sentences that were kept
        self.ends = array("Q", [0])
        self.tables = np.full((self.BANDS, 4 * self.CHUNK), -1, np.int32)

    def unlike(self, sentences: list[str]) -> list[str]:
        """Those of at most CHUNK sentences that are unlike each other and all that earlier calls returned."""
        while 2 * (len(self.ends) + len(sentences)) > self.tables.shape[1]:
            self._grow()
        pairs, ends = word_pairs(sentences)
        bands, slots = np.arange(self.BANDS), self._slots(pairs, ends)
        kept = []
        for row, sentence in enumerate(sentences):
            own = pairs[ends[row] : ends[row + 1]]
            candidates = set(self.tables[bands, slots[row]].tolist()) - {-1}
            if not candidates or not self._any_alike(set(own.tolist()), candidates):
                self.tables[bands, slots[row]] = len(self.ends) - 1
                self.pairs.frombytes(own.tobytes())
                self.ends.append(len(self.pairs))
                kept.append(sentence)
        return kept

    def _any_alike(self, own: set[int], candidates: set[int]) -> bool:
        for candidate in candidates:
            other = set(self.pairs[self.ends[candidate] : self.ends[candidate + 1]])
            if len(own & other) >= self.threshold * len(own | other):
                return True
        return False

    def _slots(self, pairs: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Each sentence's slot in each band's table."""
        keys = np.zeros((len(ends) - 1, self.BANDS), np.uint64)
        wide = pairs.astype(np.uint64)
        for index, multiplier in enumerate(self.multipliers):
            mixed = wide * multiplier
            mixed ^= mixed >> np.uint64(29)
            minima = np.minimum.reduceat(mixed * multiplier >> np.uint64(32), ends[:-1])
            band = keys[:, index // self.rows]
            band ^= minima
            band *= self.multipliers[0]
            band ^= band >> np.uint64(32)
        return (keys & np.uint64(self.tables.shape[1] - 1)).astype(np.int64)

    def _grow(self) -> None:
        self.tables = np.full((self.BANDS, 2 * self.tables.shape[1]), -1, np.int32)
        for first in range(0, len(self.ends) - 1, self.CHUNK):
            ends = np.array(self.ends[first : first + self.CHUNK + 1], np.int64)
            pairs = np.array(self.pairs[ends[0] : ends[-1]], np.uint32)
            rows = np.arange(first, first + len(ends) - 1)
            self.tables[np.arange(self.BANDS), self._slots(pairs, ends - ends[0])] = rows[:, None]


class SeenKeys:
    """A growing set of eight-byte keys at about 10 bytes each, where a set of Python's takes 100."""

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def add(self, key: bytes) -> bool:
        """Adds a key; false if it was there."""
        number = int.from_bytes(key)
        place = bisect.bisect_left(self._sorted, number)
        if number in self._recent or (place < len(self._sorted) and self._sorted[place] == number):
            return False
        self._recent.add(number)
        # In proportion, so that merging stays cheap however many there are.
        if len(self._recent) > max(1 << 14, len(self._sorted) // 32):
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            merged = np.concatenate([np.frombuffer(self._sorted, np.uint64), recent])
            merged.sort(kind="stable")
            self._sorted = array("Q")
            self._sorted.frombytes(merged.data.cast("B"))
            self._recent.clear()
        return True


def word_pairs(sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all sentences' neighbouring words, uint32, and where each sentence's begin and end, int64.

    The first word is paired with a mark, so that a sentence has as many pairs as words, and at least one.
    """
    hashes, ends = array("I"), np.zeros(len(sentences) + 1, np.int64)
    for row, sentence in enumerate(sentences):
        hashes.extend(map(zlib.crc32, (_words(sentence) or sentence).encode("utf-8", "surrogatepass").split()))
        ends[row + 1] = len(hashes)
    words = np.array(hashes, np.uint64)
    earlier = np.roll(words, 1)
    earlier[ends[:-1]] = 0
    return ((earlier * np.uint64(0x9E3779B97F4A7C15) + words * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(32)).astype(
        np.uint32
    ), ends


def _words(sentence: str) -> str:
    return _NOT_A_WORD.sub(" ", sentence.casefold()).strip()
