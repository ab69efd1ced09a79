"""Writes the keys of the benchmarks' sentences, so that everybody's corpus can leave those out without having them.

    python benchmarks/write_benchmark_keys.py ../shared/data/eval

A key is eight bytes of a hash of the words; no text can be had from it. They go to asterisk/benchmark_keys.npy.
"""

import argparse
from pathlib import Path

import numpy as np

from asterisk.corpus import BENCHMARK_KEYS, benchmark_keys


def main() -> None:
    """Reads every test and development file and writes the keys, sorted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds sts/, classification/, pairs/, clustering/ and retrieval/")
    keys = benchmark_keys([f"benchmarks:{parser.parse_args().folder}"])
    np.save(BENCHMARK_KEYS, np.sort(np.frombuffer(b"".join(keys), dtype=np.uint64)))
    print(f"{len(keys):,} keys in {BENCHMARK_KEYS}")


if __name__ == "__main__":
    main()
