"""Result files as tables for the card and as entries of the Hub's model-index."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.core.markdown import aligned_table
from asterisk.evaluation.local_tasks import LOCAL_TASKS
from asterisk.heads.report import HeadReport, read_head_report
from asterisk.reporting.names import display_name

# Main metric of MTEB -> the task type on its leaderboard.
TASK_TYPES = {
    "cosine_spearman": "STS",
    "accuracy": "Classification",
    "v_measure": "Clustering",
    "ndcg_at_10": "Retrieval",
    "map": "Reranking",
    "max_ap": "PairClassification",
    "cosine_ap": "PairClassification",
}

THIS = "this model"


@dataclass
class Extremes:
    """The tasks on which this model is best and worst, compared with another one."""

    other: str
    best: str
    worst: str


@dataclass
class Scores:
    """The content of one result file."""

    title: str
    # The columns of the table, this model first.
    models: list[str]
    # The name and the values of each row; None was not measured.
    rows: list[tuple[str, list[float | None]]]
    explanation: str
    entries: list[EvalResult] = field(default_factory=list)
    # The rows that are tasks of MTEB's protocols, not means.
    tasks: list[str] = field(default_factory=list)

    @property
    def table(self) -> str:
        """The scores as Markdown."""
        lines = [[name, *("" if value is None else f"{value:.2f}" for value in values)] for name, values in self.rows]
        return aligned_table([["", *self.models], *lines])

    @property
    def extremes(self) -> Extremes | None:
        """The three best and the three worst tasks, compared with the next model; None with fewer than six tasks."""
        pairs = {name: values for name, values in self.rows if name in self.tasks and None not in values[:2]}
        if len(pairs) < 6:
            return None
        gains = sorted((values[0] - values[1], name) for name, values in pairs.items())  # type: ignore[operator]
        worst, best = ([f"{name} ({gain:+.1f})" for gain, name in part] for part in (gains[:3], gains[:-4:-1]))
        return Extremes(
            self.models[1],
            f"strongest on {', '.join(best[:-1])} and {best[-1]}",
            f"weakest on {', '.join(worst[:-1])} and {worst[-1]}",
        )


def read_scores(path: Path) -> Scores:
    """Read `summary.json` of evaluate_mteb.py, `results.json` of train_distill.py or `report.json` of train_head.py.

    Raises:
        UserError: The file is none of these, or incomplete.
    """
    content = read_json(path)
    try:
        if isinstance(content, list):
            return _distillation_scores(content)
        if "scores" in content and "means" in content:
            return _mteb_scores(content)
        if "repeats" in content and "mean" in content:
            return _head_scores(read_head_report(path))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} lacks {error}, which the card needs; give the file as the program wrote it."
        ) from error
    raise UserError(
        f"{path} is not a result file; give a summary.json of evaluate_mteb.py, a results.json of train_distill.py or "
        "a report.json of train_head.py."
    )


def _mteb_scores(content: dict[str, Any]) -> Scores:
    models = [content, *content["baselines"]]
    scores = content["scores"]
    rows = [(name, [each["scores"].get(name) for each in models]) for name in scores]
    rows += [(f"mean of {name}", [each["means"].get(name) for each in models]) for name in content["means"]]
    entries = []
    for name, score in scores.items():
        about = content["tasks"][name]
        dataset, metric = about["dataset"], about["metric"]
        on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", dataset.get("path", "")) is not None
        entries.append(
            EvalResult(
                task_type=TASK_TYPES.get(metric, "Other"),
                # Readers do not know the paths of the measuring machine.
                dataset_type=dataset["path"] if on_hub else _slug(name),
                dataset_name=f"MTEB {name}" if about.get("mteb", is_mteb_task(name)) else name,
                dataset_revision=dataset.get("revision") if on_hub else None,
                # MTEB has no name for the split of a local file; the task's name ends with it.
                dataset_split="dev" if name.endswith(" (dev)") else about["splits"][0],
                metric_type=metric,
                metric_value=round(score, 2),
            )
        )
    return Scores(
        f"MTEB {content['versions']['mteb']}",
        [THIS, *(display_name(each["model"]) for each in content["baselines"])],
        rows,
        "Main scores × 100, measured by MTEB's protocols.",
        entries,
        list(scores),
    )


def is_mteb_task(name: str) -> bool:
    """Return whether a task has MTEB's rows and splits, for older summaries, which do not record this."""
    return not (name.endswith(" (dev)") or name in {task.name for task in LOCAL_TASKS if not task.is_mteb})


def _distillation_scores(content: list[dict[str, Any]]) -> Scores:
    student, *others = reversed(content)
    entries = [
        EvalResult(
            task_type="STS",
            dataset_type=_slug(name),
            dataset_name=name,
            dataset_split="test",
            metric_type="cosine_spearman",
            metric_value=round(score, 2),
        )
        for name, score in student["sts"].items()
    ]
    return Scores(
        "Sentence similarity",
        [THIS, *(display_name(each["model"]) for each in others)],
        [(name, [each["sts"].get(name) for each in (student, *others)]) for name in student["sts"]],
        "Spearman correlation of cosines and human scores × 100.",
        entries,
    )


def _head_scores(report: HeadReport) -> Scores:
    settings, splits = report.settings, list(report.mean)
    source = Path(settings["test_file"] or settings["dev_file"] or settings["train_file"]).stem
    entries = [
        EvalResult(
            task_type="text-classification",
            dataset_type=_slug(source),
            dataset_name=source,
            dataset_split=splits[-1],
            metric_type="f1" if metric == "macro_f1" else metric,
            metric_name=metric.replace("_", " "),
            # On the Hub, these metrics are fractions; MTEB's are percentages.
            metric_value=round(spread.mean / 100, 4),
        )
        for metric, spread in report.mean[splits[-1]].items()
        if spread.mean is not None
    ]
    counts = ", ".join(f"{size.texts:,} {name} texts" for name, size in report.data.items())
    runs = len(report.repeats)
    return Scores(
        "Classification",
        splits,
        [(metric, [report.mean[split][metric].mean for split in splits]) for metric in report.mean[splits[0]]],
        f"Scores × 100; {counts}; " + (f"the mean of {runs} trainings." if runs > 1 else "one training."),
        entries,
    )


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-") or "unnamed"
