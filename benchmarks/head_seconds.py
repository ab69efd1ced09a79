"""Measure the whole head command: from a table of 1,000 labelled texts to a classifier and its report.

    python -m benchmarks.head_seconds --model release/asterisk --data_dir ../shared/data/eval/classification

train_head.py runs with its defaults on 1,000 training texts of a set: it loads, embeds, trains with early stopping,
evaluates and saves. For comparison, a process only imports the packages. The medians of --repetitions runs, after
one for warm-up, and the peak memory go to results/head_seconds.json and .md.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.data.labelled_tables import read_labelled_texts
from benchmarks.records import machine, timed_process, write_record

TEXTS = 1_000
# Seconds between readings of a process's memory.
POLLING = 0.05
PACKAGES = "import train_head, evaluate, sklearn.metrics, plotly.graph_objects"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the Asterisk that gets a head")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the files NAME.train.parquet")
    parser.add_argument("--set", default="Banking77", help="name of the set")
    parser.add_argument("--repetitions", type=int, default=5, help="measured runs")
    options = parser.parse_args()
    every = read_labelled_texts(str(options.data_dir / f"{options.set}.train.parquet"), "text", "label")
    chosen = every.at(np.random.default_rng(0).permutation(len(every))[:TEXTS])
    name = f"train_head.py, {len(chosen):,} texts of {options.set}"
    turns: dict[str, list[tuple[float, float]]] = {name: [], "the packages' imports alone": []}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "train.parquet"
        pq.write_table(pa.table({"text": chosen.texts, "label": chosen.labels}), table)
        train = ["train_head.py", "--model", str(options.model.resolve()), "--train_file", str(table)]
        for turn in range(1 + options.repetitions):
            turns[name].append(timed_process([*train, "--output_dir", f"{folder}/{turn}"], POLLING))
            turns["the packages' imports alone"].append(timed_process(["-c", PACKAGES], POLLING))
    medians = {
        name: [statistics.median(each) for each in zip(*counted[1:], strict=True)] for name, counted in turns.items()
    }
    rows = [[name, f"{seconds:.1f}", f"{megabytes:,.0f}"] for name, (seconds, megabytes) in medians.items()]
    head = ["command", "seconds", "memory, MB"]
    write_record("head_seconds", {"machine": machine(), "turns": turns, "medians": medians}, head, rows)


if __name__ == "__main__":
    main()
