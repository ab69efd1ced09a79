"""Measure time and memory of embed.py on files of a thousand to a million texts.

    python -m benchmarks.growth --model release/asterisk --corpus ../shared/data/corpus/open

Each file holds sentences of the corpus in the order of a fixed draw, repeated as often as necessary. embed.py embeds
it in its own process. The time for a single text is subtracted. The memory is the peak of the process, without the
vectors on disk. Small files are measured five times, and the median counts. The results go to
results/growth.json and .md.
"""

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from asterisk.data.readers import files_of, read_texts
from benchmarks.records import machine, most_memory, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
SIZES = (1_000, 10_000, 100_000, 1_000_000)
DISTINCT = 200_000


def sentences(corpus: str) -> list[str]:
    """Distinct sentences, drawn evenly from all sources."""
    texts = [text for file in files_of(corpus) for text in islice(read_texts(file, "text"), DISTINCT // 10)]
    random.Random(0).shuffle(texts)
    return texts[:DISTINCT]


def embed(texts: Path, output: Path, model: str, nothing: float) -> dict[str, float]:
    """Seconds, minus `nothing` (those for one text), and peak megabytes of a process that embeds a file."""
    command = [sys.executable, "embed.py", str(texts), "--model", model, "--output_file", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    megabytes = most_memory(process, "RssAnon")
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} failed.")
    return {"seconds": time.perf_counter() - start - nothing, "megabytes": megabytes}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a model, as embed.py takes it")
    parser.add_argument("--corpus", required=True, help="texts: a file, a folder or a pattern")
    options = parser.parse_args()
    texts = sentences(options.corpus)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        file, output = Path(scratch) / "texts.txt", Path(scratch) / "vectors.npy"
        nothing = 0.0
        for size in (1, *SIZES):
            # A text may contain line separators.
            file.write_text(
                "".join(re.sub(r"\s+", " ", text) + "\n" for text in islice(cycle(texts), size)), encoding="utf-8"
            )
            # With few texts the loading time dominates, and it varies.
            results = [embed(file, output, options.model, nothing) for _ in range(5 if size < 100_000 else 1)]
            result = {name: statistics.median(each[name] for each in results) for name in results[0]}
            if size == 1:
                nothing = result["seconds"]
            else:
                found[size] = result | {"output_megabytes": output.stat().st_size / 1e6}
    rows = [
        [
            f"{size:,}",
            f"{result['seconds']:,.1f}",
            f"{size / result['seconds']:,.0f}",
            f"{result['megabytes']:,.0f}",
            f"{result['output_megabytes']:,.1f}",
        ]
        for size, result in found.items()
    ]
    head = ["texts", "seconds", "sentences/s", "memory, MB", "vectors file, MB"]
    write_record("growth", {"machine": machine(), "model": options.model, "sizes": found}, head, rows)


if __name__ == "__main__":
    main()
