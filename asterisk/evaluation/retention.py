"""The share of the teacher's benchmark scores that a student retains, with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asterisk.core.errors import UserError
from asterisk.evaluation.metrics.functions import spearman


@dataclass
class BenchmarkResult:
    """A model's main score × 100 on a task, and the values behind it if they are known.

    For STS, the values are the model's cosine (`similarities`) and the human score (`gold`) of each pair; the score is
    their Spearman correlation. Otherwise, they are `experiments`, whose mean is the score, such as MTEB's ten draws.
    """

    score: float
    similarities: np.ndarray | None = None
    gold: np.ndarray | None = None
    experiments: Sequence[float] | None = None


@dataclass
class RetainedScore:
    """Student's ÷ teacher's score on a task or group, with its 95 % confidence interval.

    `retention` is None if the teacher's score is not positive. `low` and `high` are None if nothing can be resampled.
    `interval` says what was resampled, or why nothing was.
    """

    name: str
    is_group: bool
    student: float
    teacher: float
    retention: float | None
    low: float | None
    high: float | None
    interval: str


def measure_retention(
    student: Mapping[str, BenchmarkResult],
    teacher: Mapping[str, BenchmarkResult],
    groups: Mapping[str, Sequence[str]] | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[RetainedScore]:
    """Divide a student's scores by its teacher's, with paired bootstrap 95 % percentile intervals.

    Student and teacher share each resample, so that its difficulty cancels out. For an STS task, the pairs are
    resampled. For a classification task, the experiments are resampled, so the interval covers the draws of training
    texts, but not the test set. A group's score is the mean of its tasks' scores, and its retention is the ratio of
    the two means; each of its resamples combines one resample per task.

    Args:
        student: Task → result.
        teacher: Task → result, for at least the student's tasks.
        groups: Group → its tasks; a group is left out if the student lacks one of its tasks.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        The tasks in the student's order, then the groups.

    Raises:
        UserError: The teacher lacks a task, or a result holds a number that is not finite.
        ValueError: Two results have different pairs or numbers of experiments, or a score contradicts its values.
    """
    if missing := [task for task in student if task not in teacher]:
        raise UserError(f"The teacher has no score on {missing[0]}; measure both on the same tasks.")
    lines, draws = [], {}
    for index, (task, result) in enumerate(student.items()):
        _check(task, result, teacher[task])
        generator = np.random.default_rng([seed, index])
        draws[task], interval = _bootstrap(result, teacher[task], resamples, generator)
        lines.append(_retained(task, False, result.score, teacher[task].score, draws[task], interval))
    for group, tasks in (groups or {}).items():
        if not tasks or not all(task in student for task in tasks):
            continue
        student_mean, teacher_mean = (
            float(np.mean([model[task].score for task in tasks])) for model in (student, teacher)
        )
        drawn = [draw for task in tasks if (draw := draws[task]) is not None]
        if len(drawn) == len(tasks):
            draw, interval = np.mean(drawn, axis=0), f"{len(tasks)} tasks resampled"
        else:
            fixed = ", ".join(task for task in tasks if draws[task] is None)
            draw, interval = None, f"none: {fixed} cannot be resampled"
        lines.append(_retained(group, True, student_mean, teacher_mean, draw, interval))
    return lines


def _retained(
    name: str, is_group: bool, student: float, teacher: float, draws: np.ndarray | None, interval: str
) -> RetainedScore:
    if teacher <= 0:
        reason = "none: the teacher's score is not positive"
        return RetainedScore(name, is_group, student, teacher, None, None, None, reason)
    low, high = (None, None) if draws is None else map(float, np.percentile(draws[0] / draws[1], (2.5, 97.5)))
    return RetainedScore(name, is_group, student, teacher, student / teacher, low, high, interval)


def _bootstrap(
    student: BenchmarkResult, teacher: BenchmarkResult, resamples: int, generator: np.random.Generator
) -> tuple[np.ndarray | None, str]:
    """Return the scores of student and teacher on the same resamples (2, resamples), and what was resampled."""
    if student.similarities is not None and teacher.similarities is not None:
        similarities = np.stack([student.similarities, teacher.similarities])
        draws = resampled_spearman(similarities, np.asarray(student.gold), resamples, generator)
        return draws * 100, f"{len(student.similarities):,} pairs resampled"
    if student.experiments is not None and teacher.experiments is not None and len(student.experiments) > 1:
        count = len(student.experiments)
        rows = generator.integers(count, size=(resamples, count))
        draws = np.stack([np.asarray(model.experiments)[rows].mean(axis=1) for model in (student, teacher)])
        return draws, f"{count:,} experiments resampled"
    return None, "none: there is one score and nothing to resample"


def resampled_spearman(
    similarities: np.ndarray, gold: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Compute Spearman correlations with the gold scores on bootstrap resamples of the pairs, shared by all models.

    This second implementation of Spearman's correlation is for speed: it sorts the values only once. The cumulative
    number of draws, in the order of the values, gives the ranks in a resample, ties included.

    Args:
        similarities: (models, pairs).
        gold: (pairs,), the human scores.
        resamples: Number of resamples.
        generator: Draws the resamples.

    Returns:
        (models, resamples), float64.
    """
    pairs = len(gold)
    values = [np.unique(row, return_inverse=True)[1] for row in [gold, *similarities]]
    coefficients = np.empty((len(similarities), resamples))
    for resample in range(resamples):
        drawn = np.bincount(generator.integers(pairs, size=pairs), minlength=pairs)
        centred = []
        for value in values:
            counts = np.bincount(value, weights=drawn)
            centred.append((np.cumsum(counts) - (counts - 1) / 2)[value] - (pairs + 1) / 2)
        gold_ranks = centred[0] * drawn
        gold_spread = gold_ranks @ centred[0]
        for model, ranks in enumerate(centred[1:]):
            spread = np.sqrt(gold_spread * ((ranks * drawn) @ ranks))
            coefficients[model, resample] = gold_ranks @ ranks / spread if spread else 0.0
    return coefficients


def _check(task: str, student: BenchmarkResult, teacher: BenchmarkResult) -> None:
    for model, result in (("student", student), ("teacher", teacher)):
        values = [result.score], result.similarities, result.gold, result.experiments
        if not all(np.isfinite(part).all() for part in values if part is not None):
            raise UserError(f"The {model}'s result on {task} holds a number that is not finite.")
        expected = []
        if result.similarities is not None and result.gold is not None:
            expected.append(spearman(result.similarities, result.gold))
        if result.experiments is not None:
            expected.append(float(np.mean(result.experiments)))
        if any(abs(score - result.score) > 0.05 for score in expected):
            raise ValueError(
                f"{task}: the {model}'s score {result.score} contradicts its values, which give {expected}"
            )
    if not _paired(student, teacher):
        raise ValueError(f"{task}: student and teacher were not measured on the same pairs or experiments")


def _paired(student: BenchmarkResult, teacher: BenchmarkResult) -> bool:
    if student.similarities is not None and teacher.similarities is not None:
        return np.array_equal(np.asarray(student.gold), np.asarray(teacher.gold))
    if student.experiments is not None and teacher.experiments is not None:
        return len(student.experiments) == len(teacher.experiments)
    return True
