"""Writes the keys of the benchmarks' sentences, so that everybody's corpus can leave those out without having them.

    python -m benchmarks.write_benchmark_keys ../shared/data/eval

SNLI's development sentences are not among them: no model is chosen by them, and recipes/release.yaml trains on them.

A key is eight bytes of a hash of the words; no text can be had from it. They go to asterisk/benchmark_keys.npy.
"""

import argparse
import glob
from pathlib import Path

import numpy as np

from asterisk.data.decontamination import BENCHMARK_KEYS, benchmark_keys, benchmark_patterns

TRAINED_ON = "SNLI.dev.parquet"


def main() -> None:
    """Reads every test and development file and writes the keys, sorted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds sts/, classification/, pairs/, clustering/ and retrieval/")
    files = [file for pattern in benchmark_patterns(parser.parse_args().folder) for file in sorted(glob.glob(pattern))]
    keys = benchmark_keys([file for file in files if Path(file).name != TRAINED_ON])
    np.save(BENCHMARK_KEYS, np.sort(np.frombuffer(b"".join(keys), dtype=np.uint64)))
    print(f"{len(keys):,} keys in {BENCHMARK_KEYS}")


if __name__ == "__main__":
    main()
