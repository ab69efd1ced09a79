"""Run encoders on tasks with `mteb.evaluate`, and tabulate their scores."""

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
from mteb.cache import ResultCache
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder, get_prompt_name
from mteb.models.model_meta import ScoringFunction
from mteb.results import TaskResult
from mteb.types import PromptType
from tqdm.auto import tqdm

from asterisk.core.errors import UserError, one_line
from asterisk.core.files import make_folder
from asterisk.core.markdown import aligned_table
from asterisk.evaluation.tasks import EvaluationTask
from asterisk.models.encoder import TextEncoder

# About 80 MB while a task runs.
MAX_CACHED_VECTORS = 50_000


class MtebEncoder(AbsEncoder):
    """A [`TextEncoder`] behind MTEB's interface; its name and revision keep MTEB's cache from mixing up models."""

    def __init__(self, encoder: TextEncoder, documents: TextEncoder | None = None):
        """Wrap an encoder; `documents`, if given, embeds the documents of retrieval tasks, in the same space."""
        self.encoder, self.documents = encoder, documents
        self.mteb_model_meta: ModelMeta = ModelMeta.create_empty(
            {
                "name": encoder.name,
                "revision": encoder.revision + (f"-{documents.revision}" if documents else ""),
                "languages": ["eng-Latn"],
                "n_parameters": encoder.num_parameters,
                "memory_usage_mb": encoder.num_bytes / 2**20,
                "max_tokens": encoder.max_length,
                "embed_dim": encoder.dimension,
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": bool(encoder.prompts),
            }
        )
        self._cache_key: tuple[str, str, str | None] | None = None
        self._cache: dict[str, np.ndarray] = {}

    def encode(  # type: ignore[override]
        self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, batch_size: int = 64, **kwargs: Any
    ) -> np.ndarray:
        """Embed all texts of the batches `inputs`: unit vectors (texts, dimension), float32."""
        texts = [text for batch in inputs for text in batch["text"]]
        encoder = self.documents if self.documents and prompt_type == PromptType.document else self.encoder
        name = get_prompt_name(encoder.prompts, task_metadata, prompt_type)
        prompt = encoder.prompts[name] if name is not None else None
        if self._cache_key != (key := (task_metadata.name, encoder.revision, prompt)):
            self._cache_key, self._cache = key, {}
        # A task embeds its texts in several calls, and many texts more than once.
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        vectors = dict(zip(new, encoder.encode(new, batch_size=batch_size, prompt=prompt), strict=True))
        if len(self._cache) + len(new) <= MAX_CACHED_VECTORS:
            self._cache |= vectors
        found = [vectors[text] if text in vectors else self._cache[text] for text in texts]
        return np.array(found, dtype=np.float32).reshape(len(texts), self.encoder.dimension)


@dataclass
class TaskScore:
    """One model's result on one task: MTEB's main score × 100, as on its leaderboard, and MTEB's name of that metric.

    `experiments` are scores × 100 whose mean is `score`, such as those of MTEB's ten draws of training texts.
    """

    score: float
    metric: str
    seconds: float
    experiments: list[float] = field(default_factory=list)


@dataclass
class ModelScores:
    """One model's results by task; `model` is its spec."""

    model: str
    name: str
    revision: str
    dimension: int
    num_parameters: int
    num_bytes: int
    tasks: dict[str, TaskScore] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str, encoder: TextEncoder) -> "ModelScores":
        """Create a record without results for an encoder; `model` is the user's name for it."""
        size = encoder.dimension, encoder.num_parameters, encoder.num_bytes
        return cls(model, encoder.name, encoder.revision, *size)

    @property
    def scores(self) -> dict[str, float]:
        """Task → main score × 100."""
        return {name: task.score for name, task in self.tasks.items()}

    def means(self, groups: dict[str, list[str]]) -> dict[str, float]:
        """Return group → mean score, for the groups whose tasks were all run."""
        scores = self.scores
        return {
            group: float(np.mean([scores[name] for name in names]))
            for group, names in groups.items()
            if names and all(name in scores for name in names)
        }


def run_tasks(
    encoder: TextEncoder,
    tasks: list[EvaluationTask],
    output_dir: Path,
    batch_size: int = 64,
    documents: TextEncoder | None = None,
) -> Iterator[tuple[str, TaskScore]]:
    """Run the encoder on each task, and yield the task's name and result as soon as the task is finished.

    MTEB's result files in `output_dir/results` are also a cache: a result is reused if the model (the hash of its
    weights and settings), the data and MTEB's release are the same.

    Args:
        encoder: The encoder.
        tasks: The tasks.
        output_dir: The folder of the results.
        batch_size: Maximum number of texts in a forward pass.
        documents: An encoder that embeds the documents of retrieval tasks in the same space; by default, `encoder`.

    Raises:
        UserError: The encoder returns vectors that are not finite, or a task's data cannot be loaded. Finished results
            stay on disk.
    """
    make_folder(output_dir)
    cache = ResultCache(output_dir)
    model = MtebEncoder(encoder, documents)
    # MTEB's own progress bar covers only one call, and also writes to log files.
    for task in (progress := tqdm(tasks, desc=encoder.name, unit=" tasks", disable=None)):
        progress.set_postfix_str(task.name)
        with quiet():
            result = _evaluate_task(model, task, cache, batch_size)
        yield task.name, result


def finished_score(task: EvaluationTask, model: ModelMeta, cache: ResultCache) -> TaskScore | None:
    """Load an earlier result of a model and task, if it is complete and from the same data and release of MTEB."""
    path = cache.get_task_result_path(task.name, model)
    try:
        result = cache.load_task_result(task.name, model)
    except (OSError, ValueError):  # a killed run left half a file
        path.unlink(missing_ok=True)
        return None
    if result is None or result.get_missing_evaluations(task.task):
        return None
    same = result.is_mergeable(task.task, criteria=["dataset_revision", "mteb_version"])
    return _score(result, task) if same else None


def _evaluate_task(model: MtebEncoder, task: EvaluationTask, cache: ResultCache, batch_size: int) -> TaskScore:
    if (finished := finished_score(task, model.mteb_model_meta, cache)) is not None:
        return finished
    try:
        task.load()
        results = mteb.evaluate(
            model,  # type: ignore[arg-type]
            task.task,
            cache=cache,
            # An existing file is incomplete, or from other data or another release of MTEB.
            overwrite_strategy="always",
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
            show_progress_bar=False,
            co2_tracker=False,
        )
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"The data of the task {task.name} cannot be loaded ({one_line(error)}); see --data_dir."
        ) from error
    finally:
        task.task.unload_data()
    return _score(results.task_results[0], task)


def _score(result: TaskResult, task: EvaluationTask) -> TaskScore:
    # MTEB's files hold six digits; rounding makes a resumed run report the same score.
    score = round(float(result.validate_and_filter_scores(task.task).get_score()) * 100, 4)
    metric = task.task.metadata.main_score
    lines = [line for split in result.scores.values() for line in split]
    # A mean over several splits or languages has no experiments.
    found = lines[0].get("scores_per_experiment") if len(lines) == 1 else None
    experiments = [float(scores[metric]) * 100 for scores in found or [] if scores.get(metric) is not None]
    return TaskScore(score, metric, round(result.evaluation_time or 0.0, 1), experiments)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, MTEB's notes about newer tasks, and the progress bars of datasets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("mteb").setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        yield


def score_ratios(model: ModelScores, baseline: ModelScores, groups: dict[str, list[str]]) -> dict[str, float]:
    """Divide the model's scores by the baseline's, for each task and each group's mean that both have."""
    scores = {**model.scores, **model.means(groups)}
    reference = {**baseline.scores, **baseline.means(groups)}
    return {name: score / reference[name] for name, score in scores.items() if reference.get(name)}


def summary(
    models: list[ModelScores], tasks: list[EvaluationTask], groups: dict[str, list[str]], settings: dict[str, Any]
) -> dict[str, Any]:
    """Collect the content of `summary.json`: the first model's scores and means, the baselines, and the settings."""

    def describe(model: ModelScores) -> dict[str, Any]:
        fields = {name: value for name, value in dataclasses.asdict(model).items() if name != "tasks"}
        return {**fields, "scores": model.scores, "means": model.means(groups)}

    model, *baselines = models
    first = describe(model)
    task_records = {
        task.name: {
            "source": "local" if task.local else "hub",
            # Only a score on MTEB's rows and splits may be called MTEB's.
            "mteb": task.is_mteb,
            "dataset": dict(task.task.metadata.dataset),
            "files": task.files,
            "remark": task.remark,
            "splits": list(task.task.eval_splits),
            "metric": model.tasks[task.name].metric,
            "seconds": {each.model: each.tasks[task.name].seconds for each in models if task.name in each.tasks},
        }
        for task in tasks
        if task.name in model.tasks
    }
    return {
        "scores": first.pop("scores"),
        "means": first.pop("means"),
        "retention": score_ratios(model, baselines[0], groups) if baselines else {},
        "model": first,
        "baselines": [describe(baseline) for baseline in baselines],
        "tasks": task_records,
        "settings": settings,
        "versions": {name: version(name) for name in ("mteb", "torch", "transformers", "sentence-transformers")},
    }


def summary_table(models: list[ModelScores], tasks: list[EvaluationTask], groups: dict[str, list[str]]) -> str:
    """Format `summary.md`: a row per task and per complete group, a column per model."""
    baseline = models[1] if len(models) > 1 else None
    ratios = score_ratios(models[0], baseline, groups) if baseline else {}
    columns = [{**model.scores, **model.means(groups)} for model in models]
    rows = [["", *(model.model for model in models), "retention"]]
    for name in [*(task.name for task in tasks), *(group for group in groups if group in columns[0])]:
        cells = [f"{column[name]:.2f}" if name in column else "" for column in columns]
        label = f"**mean of {name}**" if name in groups else name
        rows.append([label, *cells, f"{ratios[name]:.1%}" if name in ratios else ""])
    rows += [
        ["dimensions", *(f"{model.dimension:,}" for model in models), ""],
        ["parameters", *(f"{model.num_parameters:,}" for model in models), ""],
        ["MB on disk", *(f"{model.num_bytes / 1e6:.1f}" for model in models), ""],
    ]
    table = aligned_table(rows if baseline else [row[:-1] for row in rows])
    note = "Main scores of MTEB × 100"
    note += f"; retention is {models[0].model} ÷ {baseline.model}." if baseline else "."
    remarks = [f"- {task.name}: {task.remark}." for task in tasks if task.remark]
    return "\n".join([table, "", note, *(["", *remarks] if remarks else [])]) + "\n"
