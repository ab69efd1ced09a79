"""Runs encoders on tasks through `mteb.evaluate`, and puts their scores side by side."""

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
from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.files import make_folder
from asterisk.core.markdown import aligned_table
from asterisk.evaluation.local_tasks import EvaluationTask
from asterisk.models.encoder import Encoder

# Vectors of one task that are kept while it runs: some 80 MB.
MOST_KNOWN = 50_000


class MtebEncoder(AbsEncoder):
    """An [`Encoder`] as MTEB calls it, under a name and revision of its own, so that no cache mixes up models."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self.mteb_model_meta: ModelMeta = ModelMeta(
            loader=None,
            name=encoder.name,
            revision=encoder.revision,
            release_date=None,
            languages=["eng-Latn"],
            n_parameters=encoder.num_parameters,
            memory_usage_mb=encoder.num_bytes / 2**20,
            max_tokens=getattr(encoder, "max_length", None),
            embed_dim=encoder.dimension,
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=[],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=bool(encoder.prompts),
            training_datasets=None,
        )
        self._known_for: tuple[str, str | None] | None = None
        self._known: dict[str, np.ndarray] = {}

    def encode(  # type: ignore[override]
        self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, batch_size: int = 64, **kwargs: Any
    ) -> np.ndarray:
        """Unit vectors (number of texts, dimension), float32, of all texts of the batches `inputs`."""
        texts = [text for batch in inputs for text in batch["text"]]
        name = get_prompt_name(self.encoder.prompts, task_metadata, prompt_type)
        prompt = self.encoder.prompts[name] if name is not None else None
        if self._known_for != (task_metadata.name, prompt):
            self._known_for, self._known = (task_metadata.name, prompt), {}
        # A task asks for its texts in several calls, and for many of them in more than one.
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        vectors = dict(zip(new, self.encoder.encode(new, batch_size=batch_size, prompt=prompt), strict=True))
        if len(self._known) + len(new) <= MOST_KNOWN:
            self._known |= vectors
        found = [vectors[text] if text in vectors else self._known[text] for text in texts]
        return np.array(found, dtype=np.float32).reshape(len(texts), self.encoder.dimension)


@dataclass
class TaskScore:
    """One model's result on one task."""

    # MTEB's main score × 100, as its leaderboard gives it.
    score: float
    # MTEB's name of that score, such as cosine_spearman.
    metric: str
    seconds: float
    # Of a mean over experiments, such as classification's draws of training texts, each one's score × 100.
    experiments: list[float] = field(default_factory=list)


@dataclass
class ModelScores:
    """One model's results, by task."""

    model: str
    name: str
    revision: str
    dimension: int
    num_parameters: int
    num_bytes: int
    tasks: dict[str, TaskScore] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str, encoder: Encoder) -> "ModelScores":
        """No results yet of an encoder that the user calls `model`."""
        size = encoder.dimension, encoder.num_parameters, encoder.num_bytes
        return cls(model, encoder.name, encoder.revision, *size)

    @property
    def scores(self) -> dict[str, float]:
        """Task to main score × 100."""
        return {name: task.score for name, task in self.tasks.items()}

    def means(self, groups: dict[str, list[str]]) -> dict[str, float]:
        """The plain mean of each group whose tasks were all run."""
        scores = self.scores
        return {
            group: float(np.mean([scores[name] for name in names]))
            for group, names in groups.items()
            if names and all(name in scores for name in names)
        }


def evaluate(
    encoder: Encoder, tasks: list[EvaluationTask], output_dir: Path, batch_size: int = 64
) -> Iterator[tuple[str, TaskScore]]:
    """Runs the encoder on one task after the other, and gives each task's name and result as it is there.

    MTEB's own files in `output_dir/results` are both the result and the memory: what they hold of this model (by the
    hash of its weights and settings), this data and this release of MTEB is not computed again.

    Raises:
        UserError: The encoder gives no finite vectors, or a task's data cannot be had. What was given stays.
    """
    make_folder(output_dir)
    cache = ResultCache(output_dir)
    model = MtebEncoder(encoder)
    # MTEB's own bar knows only the tasks of one call, and writes to logs.
    for task in (progress := tqdm(tasks, desc=encoder.name, unit=" tasks", disable=None)):
        progress.set_postfix_str(task.name)
        with _quiet():
            result = _evaluate_task(model, task, cache, batch_size)
        yield task.name, result


def finished_score(task: EvaluationTask, model: ModelMeta, cache: ResultCache) -> TaskScore | None:
    """What an earlier run left on disk of a model and task, if it is whole and of this data and this MTEB."""
    path = cache.get_task_result_path(task.name, model)
    try:
        result = cache.load_task_result(task.name, model)
    except (OSError, ValueError):  # a run was stopped while it wrote
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
            # What may lie there is incomplete, of other data or of another MTEB.
            overwrite_strategy="always",
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
            show_progress_bar=False,
            co2_tracker=False,
        )
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The data of the task {task.name} cannot be had ({reason}); see --data_dir.") from error
    finally:
        task.task.unload_data()
    return _score(results.task_results[0], task)


def _score(result: TaskResult, task: EvaluationTask) -> TaskScore:
    # MTEB's files hold six digits; a resumed run is to tell what a whole one does.
    score = round(float(result.validate_and_filter_scores(task.task).get_score()) * 100, 4)
    metric = task.task.metadata.main_score
    lines = [line for split in result.scores.values() for line in split]
    # The mean of several splits or languages has no experiments of its own.
    found = lines[0].get("scores_per_experiment") if len(lines) == 1 else None
    experiments = [float(each[metric]) * 100 for each in found or [] if each.get(metric) is not None]
    return TaskScore(score, metric, round(result.evaluation_time or 0.0, 1), experiments)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps MTEB from telling of newer tasks, and datasets from drawing its own progress."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("mteb").setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        yield


def retention(model: ModelScores, baseline: ModelScores, groups: dict[str, list[str]]) -> dict[str, float]:
    """The model's score divided by the baseline's, of each task and each group's mean that both have."""
    own = {**model.scores, **model.means(groups)}
    other = {**baseline.scores, **baseline.means(groups)}
    return {name: own[name] / other[name] for name in own if other.get(name)}


def summary(
    models: list[ModelScores], tasks: list[EvaluationTask], groups: dict[str, list[str]], settings: dict[str, Any]
) -> dict[str, Any]:
    """What `summary.json` holds: the first model's scores and means; the others as baselines; and how it was run."""

    def described(model: ModelScores) -> dict[str, Any]:
        about = {name: value for name, value in dataclasses.asdict(model).items() if name != "tasks"}
        return {**about, "scores": model.scores, "means": model.means(groups)}

    model, *baselines = models
    first = described(model)
    about = {
        task.name: {
            "source": task.source,
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
        "retention": retention(model, baselines[0], groups) if baselines else {},
        "model": first,
        "baselines": [described(each) for each in baselines],
        "tasks": about,
        "settings": settings,
        "versions": {name: version(name) for name in ("mteb", "torch", "transformers", "sentence-transformers")},
    }


def markdown(models: list[ModelScores], tasks: list[EvaluationTask], groups: dict[str, list[str]]) -> str:
    """The table of `summary.md`: a line for each task and each whole group, a column for each model."""
    with_retention = len(models) > 1
    head = ["", *(each.model for each in models), *(["retention"] if with_retention else [])]
    kept = retention(models[0], models[1], groups) if with_retention else {}
    columns = [{**each.scores, **each.means(groups)} for each in models]
    lines = []
    for name in [*(task.name for task in tasks), *(group for group in groups if group in columns[0])]:
        cells = [f"{column[name]:.2f}" if name in column else "" for column in columns]
        label = f"**mean of {name}**" if name in groups else name
        lines.append([label, *cells, *([f"{kept[name]:.1%}" if name in kept else ""] if with_retention else [])])
    for label, values in (
        ("dimensions", [f"{each.dimension:,}" for each in models]),
        ("parameters", [f"{each.num_parameters:,}" for each in models]),
        ("MB on disk", [f"{each.num_bytes / 1e6:.1f}" for each in models]),
    ):
        lines.append([label, *values, *([""] if with_retention else [])])
    table = aligned_table([head, *lines])
    notes = [f"- {task.name}: {task.remark}." for task in tasks if task.remark]
    explained = "Main scores of MTEB × 100" + (
        f"; retention is {models[0].model} ÷ {models[1].model}." if with_retention else "."
    )
    return "\n".join([table, "", explained, *(["", *notes] if notes else [])]) + "\n"
