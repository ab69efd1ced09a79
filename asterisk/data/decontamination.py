"""Keys of benchmark sentences, which every corpus leaves out, because models must not be trained on them."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import files_of, kind_of, read_lines, read_rows
from asterisk.data.sentences import sentence_splitter

# The splits that `benchmark_patterns` excludes: those used to evaluate or select models.
HELD_OUT = {
    "sts": ("test", "dev", "all"),
    "classification": ("test", "dev", "all"),
    "pairs": ("test", "dev"),
    "clustering": ("test",),
    "retrieval": ("*",),
}

# Keys of MTEB's English test and development sentences, except SNLI's development split, on which the release is
# trained; benchmarks/write_benchmark_keys.py writes the file.
BENCHMARK_KEYS = Path(__file__).with_name("benchmark_keys.npy")


def benchmark_patterns(folder: Path) -> list[str]:
    """Return glob patterns for the held-out benchmark files in a folder.

    Args:
        folder: A folder with at least one of the subfolders sts, classification, pairs, clustering and retrieval,
            whose files are named NAME.SPLIT.parquet.

    Raises:
        UserError: The folder has no such file.
    """
    patterns = [
        str(Path(glob.escape(str(folder)), kind, f"*.{split}.parquet"))
        for kind, splits in HELD_OUT.items()
        for split in splits
    ]
    if found := [pattern for pattern in patterns if glob.glob(pattern)]:
        return found
    raise UserError(f"{folder} holds no benchmarks: give a folder with files such as sts/STSBenchmark.test.parquet.")


def benchmark_keys(patterns: Iterable[str], split_sentences: str | None = None) -> set[bytes]:
    """Compute the keys of all strings, nested ones included, in all columns of the files.

    Args:
        patterns: Text files or tables, named as the sources of a corpus are; the default split of a Hub dataset is
            test. `benchmarks:FOLDER` means the folder's [`benchmark_patterns`]. `benchmarks` means the hashes that
            come with Asterisk: those of the English tasks of `evaluate_mteb.py` on which no release is trained.
        split_sentences: Language whose rules also split each string into sentences; their keys are added.

    Returns:
        The keys, each from [`asterisk.data.deduplication.sentence_key`].

    Raises:
        UserError: A pattern matches no file, or a file or Hub dataset cannot be read.
    """
    keys: set[bytes] = set()
    split = sentence_splitter(split_sentences) if split_sentences else None
    for file in benchmark_files(patterns):
        if file == str(BENCHMARK_KEYS):
            keys.update(key.tobytes() for key in np.load(BENCHMARK_KEYS))
            continue
        kind = kind_of(file)
        rows = () if kind == ".txt" else read_rows(file, kind, split="test", names_classes=False)
        for text in read_lines(file) if kind == ".txt" else _strings(row for _, row in rows):
            keys.add(sentence_key(text))
            keys.update(map(sentence_key, split(text) if split else ()))
    return keys - {sentence_key("")}


def benchmark_files(patterns: Iterable[str]) -> list[str]:
    """List the files that match the patterns of [`benchmark_keys`]."""
    files = []
    for pattern in patterns:
        if pattern == "benchmarks":
            files.append(str(BENCHMARK_KEYS))
            continue
        is_folder = pattern.startswith("benchmarks:")
        parts = benchmark_patterns(Path(pattern.removeprefix("benchmarks:"))) if is_folder else [pattern]
        files += [file for part in parts for file in files_of(part, split="test")]
    return files


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _strings(item)
