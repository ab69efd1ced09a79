"""Measure the speed and the memory of building a corpus from text.

    python -m benchmarks.corpus 'COLLECTION/*.txt.zst'
    python -m benchmarks.corpus 'COLLECTION/*.txt.zst' --split_sentences en

Prints one JSON object: the counts, the texts per second, and the growth of the peak resident memory after the imports,
in total and per kept sentence.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from asterisk.data.corpus import build_corpus


def peak_bytes() -> int:
    """The peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Build a corpus in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="text files, tables, folders, glob patterns or Hub datasets")
    parser.add_argument("--exclude", nargs="*", default=[], help="benchmark files, or benchmarks:FOLDER")
    parser.add_argument("--split_sentences", help="language of the sentence splitter")
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
