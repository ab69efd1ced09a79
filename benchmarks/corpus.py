"""How fast text becomes a corpus, and in how much memory.

    python -m benchmarks.corpus 'COLLECTION/*.txt.zst'
    python -m benchmarks.corpus 'COLLECTION/*.txt.zst' --near_duplicates 0.8 --split_sentences en

Prints one JSON object: what was counted, texts a second, and the bytes by which the process grew (peak resident memory
over that after the imports) for each sentence that was kept.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from asterisk.data.corpus import build_corpus


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Builds the corpus in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="text files, tables, folders, glob patterns or Hub datasets")
    parser.add_argument("--exclude", nargs="*", default=[], help="benchmark files, or benchmarks:FOLDER")
    parser.add_argument("--split_sentences", help="language of the rules that split texts")
    parser.add_argument("--near_duplicates", type=float, help="similarity from which on sentences are left out")
    arguments = vars(parser.parse_args())
    before, start = peak_bytes(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = build_corpus(folder=Path(folder) / "corpus", **arguments).counts
    seconds = time.perf_counter() - start
    grown = peak_bytes() - before
    print(
        json.dumps(
            {
                "counts": counts,
                "seconds": round(seconds, 1),
                "texts_per_second": round(counts["read"] / seconds),
                "peak_growth_mb": round(grown / 1e6),
                "peak_growth_bytes_per_kept": round(grown / counts["kept"]),
            }
        )
    )


if __name__ == "__main__":
    main()
