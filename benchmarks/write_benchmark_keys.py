"""Write the keys of the benchmarks' sentences, so that any corpus can leave those out without the texts.

    python -m benchmarks.write_benchmark_keys ../shared/data/eval

A key is eight bytes of a hash of the words, from which the text cannot be recovered. The keys go to
asterisk/data/benchmark_keys.npy. SNLI's development sentences are not included: no model is chosen by them, and
recipes/release.yaml trains on them.
"""

import argparse
import glob
from pathlib import Path

import numpy as np

from asterisk.data.decontamination import BENCHMARK_KEYS, benchmark_keys, benchmark_patterns

TRAINED_ON = "SNLI.dev.parquet"


def main() -> None:
    """Read every test and development file and write the keys, sorted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds sts/, classification/, pairs/, clustering/ and retrieval/")
    files = [file for pattern in benchmark_patterns(parser.parse_args().folder) for file in sorted(glob.glob(pattern))]
    keys = benchmark_keys([file for file in files if Path(file).name != TRAINED_ON])
    np.save(BENCHMARK_KEYS, np.sort(np.frombuffer(b"".join(keys), dtype=np.uint64)))
    print(f"{len(keys):,} keys in {BENCHMARK_KEYS}")


if __name__ == "__main__":
    main()
