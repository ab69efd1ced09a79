"""Exact deduplication: sentences with equal eight-byte keys are duplicates."""

import bisect
import hashlib
import re
from array import array

import numpy as np

_NOT_A_WORD = re.compile(r"[\W_]+")


def sentence_key(sentence: str) -> bytes:
    """Hash a sentence to eight bytes, ignoring case, punctuation and white space."""
    words = _NOT_A_WORD.sub(" ", sentence.casefold()).strip()
    # A line without words is hashed unchanged.
    return hashlib.blake2b((words or sentence.strip()).encode("utf-8", "surrogatepass"), digest_size=8).digest()


class SeenKeys:
    """A growing set of eight-byte keys that takes about 10 bytes per key; a Python set takes 100."""

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def add(self, key: bytes) -> bool:
        """Add a key; return False if it is already present."""
        number = int.from_bytes(key)
        position = bisect.bisect_left(self._sorted, number)
        if number in self._recent or (position < len(self._sorted) and self._sorted[position] == number):
            return False
        self._recent.add(number)
        # A threshold proportional to the size keeps merging cheap for any number of keys.
        if len(self._recent) > max(1 << 14, len(self._sorted) // 32):
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            merged = np.concatenate([np.frombuffer(self._sorted, np.uint64), recent])
            merged.sort(kind="stable")
            self._sorted = array("Q")
            self._sorted.frombytes(merged.data.cast("B"))
            self._recent.clear()
        return True
