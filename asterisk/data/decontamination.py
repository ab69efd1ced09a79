"""The sentences of benchmarks, which no model may be trained on: as keys, to be left out of a corpus."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import files_of, kind_of, read_lines, read_rows
from asterisk.data.sentences import sentence_splitter

# What `benchmark_patterns` keeps out: all that is measured on, and what models may be chosen by.
HELD_OUT = {
    "sts": ("test", "dev", "all"),
    "classification": ("test", "dev", "all"),
    "pairs": ("test", "dev"),
    "clustering": ("test",),
    "retrieval": ("*",),
}

# The keys of MTEB's English test and development sentences, but for those of SNLI's development part, which the
# release is trained on; benchmarks/write_benchmark_keys.py makes the file.
BENCHMARK_KEYS = Path(__file__).with_name("benchmark_keys.npy")


def benchmark_patterns(folder: Path) -> list[str]:
    """Glob patterns of the files in a folder of benchmarks whose sentences no model may be trained on.

    Args:
        folder: Holds at least one of the folders sts, classification, pairs, clustering and retrieval, whose Parquet
            files are called NAME.SPLIT.parquet.

    Raises:
        UserError: There is no such file.
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
    """The keys of every string, also in lists and structures, in every column of the files that the patterns name.

    Args:
        patterns: Text files or tables, as the sources of a corpus, but that of a Hub dataset the split is by
            default test; `benchmarks:FOLDER` stands for [`benchmark_patterns`] of it, and `benchmarks` for those that
            come with Asterisk, as hashes: what `evaluate_mteb.py` measures in English, as far as we have it and
            no release is trained on it.
        split_sentences: A language, to add the keys of each string's sentences.

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
        for text in read_lines(file) if kind == ".txt" else _strings(read_rows(file, kind, split="test")):
            keys.add(sentence_key(text))
            keys.update(map(sentence_key, split(text) if split else ()))
    return keys - {sentence_key("")}


def benchmark_files(patterns: Iterable[str]) -> list[str]:
    """The files that patterns stand for; see [`benchmark_keys`]."""
    files = []
    for pattern in patterns:
        if pattern == "benchmarks":
            files.append(str(BENCHMARK_KEYS))
            continue
        is_folder = pattern.startswith("benchmarks:")
        parts = benchmark_patterns(Path(pattern.removeprefix("benchmarks:"))) if is_folder else [pattern]
        files += [file for part in parts for file in files_of(part)]
    return files


def _strings(value: Any) -> Iterator[str]:
    """Every string in rows, columns and what they hold."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        for item in value:
            yield from _strings(item)
