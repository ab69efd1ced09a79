"""What result files say of a model: tables for the card, and the entries of the Hub's model-index."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.core.markdown import aligned_table

# MTEB's main metric → the name of the kind of task on its leaderboard.
TASK_TYPES = {
    "cosine_spearman": "STS",
    "accuracy": "Classification",
    "v_measure": "Clustering",
    "ndcg_at_10": "Retrieval",
    "map": "Reranking",
    "max_ap": "PairClassification",
    "cosine_ap": "PairClassification",
}


@dataclass
class Scores:
    """What one result file says."""

    title: str
    # Of the table: the models, the published one first, and each row's name and values, None where not measured.
    models: list[str]
    rows: list[tuple[str, list[float | None]]]
    explained: str
    entries: list[EvalResult] = field(default_factory=list)

    @property
    def table(self) -> str:
        """As Markdown."""
        lines = [[name, *("" if value is None else f"{value:.2f}" for value in values)] for name, values in self.rows]
        return aligned_table([["", *self.models], *lines])


def read_scores(path: Path) -> Scores:
    """Reads `summary.json` of evaluate_mteb.py, `results.json` of train_distill.py or `report.json` of train_head.py.

    Raises:
        UserError: The file is none of these.
    """
    content = read_json(path)
    try:
        if isinstance(content, list):
            return _of_distillation(content)
        if "scores" in content and "means" in content:
            return _of_mteb(content)
        if "repeats" in content and "mean" in content:
            return _of_head(content)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{path} lacks {error}, which the card tells; give it as the program wrote it.") from error
    raise UserError(
        f"{path} is no file of results; give a summary.json of evaluate_mteb.py, a results.json of train_distill.py "
        "or a report.json of train_head.py."
    )


def _of_mteb(content: dict[str, Any]) -> Scores:
    models = [content | {"model": "this model"}, *content["baselines"]]
    names = [*content["scores"], *content["means"]]
    rows = [
        (
            name if name in content["scores"] else f"mean of {name}",
            [each["scores"].get(name, each["means"].get(name)) for each in models],
        )
        for name in names
    ]
    entries = []
    for name, score in content["scores"].items():
        about = content["tasks"][name]
        dataset, metric = about["dataset"], about["metric"]
        on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", dataset.get("path", "")) is not None
        entries.append(
            EvalResult(
                task_type=TASK_TYPES.get(metric, "Other"),
                # A path on the measuring machine says nothing to others.
                dataset_type=dataset["path"] if on_hub else _slug(name),
                dataset_name=f"MTEB {name}",
                dataset_revision=dataset.get("revision") if on_hub else None,
                # A local file's part, which MTEB has no name for, stands behind the task's.
                dataset_split="dev" if name.endswith(" (dev)") else about["splits"][0],
                metric_type=metric,
                metric_value=round(score, 2),
            )
        )
    return Scores(
        f"MTEB {content['versions']['mteb']}",
        [_short(each["model"]) for each in models],
        rows,
        "Main scores of MTEB × 100.",
        entries,
    )


def _of_distillation(content: list[dict[str, Any]]) -> Scores:
    own, *others = reversed(content)
    names = list(own["sts"])
    rows: list[tuple[str, list[float | None]]] = [
        (name, [each["sts"].get(name) for each in (own, *others)]) for name in names
    ]
    entries = [
        EvalResult(
            task_type="STS",
            dataset_type=_slug(name),
            dataset_name=name,
            dataset_split="test",
            metric_type="cosine_spearman",
            metric_value=round(own["sts"][name], 2),
        )
        for name in names
    ]
    models = ["this model", *(each["model"] for each in others)]
    return Scores(
        "Sentence similarity", models, rows, "Spearman correlation of cosines and human scores × 100.", entries
    )


def _of_head(content: dict[str, Any]) -> Scores:
    splits = list(content["mean"])
    metrics = list(content["mean"][splits[0]])
    rows = [(metric, [content["mean"][split][metric]["mean"] for split in splits]) for metric in metrics]
    settings, split = content["settings"], splits[-1]
    source = settings["test_file"] or settings["dev_file"] or settings["train_file"]
    values = {metric: content["mean"][split][metric]["mean"] for metric in metrics}
    entries = [
        EvalResult(
            task_type="text-classification",
            dataset_type=_slug(Path(source).stem),
            dataset_name=Path(source).stem,
            dataset_split=split,
            metric_type="f1" if metric == "macro_f1" else metric,
            metric_name=metric.replace("_", " "),
            # The Hub's custom for these metrics is a share, MTEB's is per cent.
            metric_value=round(value / 100, 4),
        )
        for metric, value in values.items()
        if value is not None
    ]
    counts = ", ".join(f"{part['texts']:,} texts of {name}" for name, part in content["data"].items())
    runs = len(content["repeats"])
    explained = f"× 100; {counts}; " + (f"the mean of {runs} trainings." if runs > 1 else "one training.")
    return Scores("Classification", splits, rows, explained, entries)


def _short(model: str) -> str:
    """A model's name without the folders of the machine that it was measured on."""
    kind, colon, rest = model.rpartition(":")
    return kind + colon + (rest if rest.count("/") == 1 and not rest.startswith((".", "/")) else Path(rest).name)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-") or "unnamed"
