"""How much of its teacher's benchmark scores a student keeps, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from asterisk.core.errors import UserError


@dataclass
class TaskResult:
    """A model's main score × 100 on a task, and, if there are any, the values it was computed from.

    `similarities` and `gold` are those of an STS task: the model's cosine and the human score of each pair, (pairs,);
    the score is their Spearman correlation. `experiments` are the scores × 100 of which the score is the mean, such as
    the ten draws of training texts of MTEB's classification.
    """

    score: float
    similarities: np.ndarray | None = None
    gold: np.ndarray | None = None
    experiments: Sequence[float] | None = None


@dataclass
class Retention:
    """Student's ÷ teacher's score on a task or group, and between what values it lies with 95 % confidence.

    `retention` is None where the teacher's score is not above zero. `low` and `high` are None where nothing can be
    resampled; `interval` says what was, or why nothing could be.
    """

    name: str
    is_group: bool
    student: float
    teacher: float
    retention: float | None
    low: float | None
    high: float | None
    interval: str


def retention(
    student: Mapping[str, TaskResult],
    teacher: Mapping[str, TaskResult],
    groups: Mapping[str, Sequence[str]] | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[Retention]:
    """How much of its teacher's scores a student keeps, with paired bootstrap 95 % percentile intervals.

    The same resample serves student and teacher, so that what is hard for both cancels out: an STS task's pairs are
    resampled, or a classification task's experiments (then the interval is about the draws of training texts alone,
    not about the test set). A group's score is the mean of its tasks', and its retention the ratio of the two means;
    each of its resamples has one resample of each task.

    Args:
        student: Task → result.
        teacher: The same tasks; others are ignored.
        groups: Group → its tasks; a group of which the student lacks a task is left out.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The tasks in the student's order, then the groups.

    Raises:
        UserError: The teacher lacks a task, or a result holds a number that is not finite.
        ValueError: Two results are not of the same pairs or number of experiments, or a score is not what its values
            give.
    """
    missing = [task for task in student if task not in teacher]
    if missing:
        raise UserError(f"The teacher has no score on {missing[0]}; measure both on the same tasks.")
    lines, draws = [], {}
    for index, (task, result) in enumerate(student.items()):
        _check(task, result, teacher[task])
        generator = np.random.default_rng([seed, index])
        draws[task], interval = _bootstrap(result, teacher[task], resamples, generator)
        lines.append(_retention(task, False, result.score, teacher[task].score, draws[task], interval))
    for group, tasks in (groups or {}).items():
        if tasks and all(task in student for task in tasks):
            lines.append(_group(group, tasks, student, teacher, draws))
    return lines


def _group(
    group: str,
    tasks: Sequence[str],
    student: Mapping[str, TaskResult],
    teacher: Mapping[str, TaskResult],
    draws: Mapping[str, np.ndarray | None],
) -> Retention:
    student_mean, teacher_mean = (
        float(np.mean([model[task].score for task in tasks])) for model in (student, teacher)
    )
    drawn = [draw for task in tasks if (draw := draws[task]) is not None]
    fixed = [task for task in tasks if draws[task] is None]
    if fixed:
        return _retention(
            group, True, student_mean, teacher_mean, None, f"none: {', '.join(fixed)} cannot be resampled"
        )
    return _retention(group, True, student_mean, teacher_mean, np.mean(drawn, axis=0), f"{len(tasks)} tasks resampled")


def _retention(
    name: str, is_group: bool, student: float, teacher: float, draws: np.ndarray | None, interval: str
) -> Retention:
    if teacher <= 0:
        return Retention(
            name, is_group, student, teacher, None, None, None, "none: the teacher's score is not positive"
        )
    low, high = (None, None) if draws is None else map(float, np.percentile(draws[0] / draws[1], (2.5, 97.5)))
    return Retention(name, is_group, student, teacher, student / teacher, low, high, interval)


def _bootstrap(
    student: TaskResult, teacher: TaskResult, resamples: int, generator: np.random.Generator
) -> tuple[np.ndarray | None, str]:
    """Scores of student and teacher on the same resamples, (2, resamples), and in words what was resampled."""
    if student.similarities is not None and teacher.similarities is not None:
        count = len(student.similarities)
        draws = resampled_spearman(
            np.stack([student.similarities, teacher.similarities]), np.asarray(student.gold), resamples, generator
        )
        return draws * 100, f"{count:,} pairs resampled"
    if student.experiments is not None and teacher.experiments is not None and len(student.experiments) > 1:
        count = len(student.experiments)
        rows = generator.integers(count, size=(resamples, count))
        draws = np.stack([np.asarray(model.experiments)[rows].mean(axis=1) for model in (student, teacher)])
        return draws, f"{count:,} experiments resampled"
    return None, "none: there is one score and nothing to resample"


def resampled_spearman(
    similarities: np.ndarray, gold: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Spearman correlations of several models with the same gold scores, on the same bootstrap resamples of the pairs.

    Nothing is sorted again: how often each value was drawn gives, summed up in the order of the values, the ranks in
    the resample, ties included.

    Args:
        similarities: (models, pairs).
        gold: (pairs,).
        resamples: How many to draw, each of as many pairs as there are.
        generator: Draws.

    Returns:
        (models, resamples), float64.
    """
    pairs = len(gold)
    values = [np.unique(row, return_inverse=True)[1] for row in [gold, *similarities]]
    found = np.empty((len(similarities), resamples))
    for resample in range(resamples):
        drawn = np.bincount(generator.integers(pairs, size=pairs), minlength=pairs)
        ranks = []
        for value in values:
            counts = np.bincount(value, weights=drawn)
            ranks.append((np.cumsum(counts) - (counts - 1) / 2)[value] - (pairs + 1) / 2)
        gold_ranks = ranks[0] * drawn
        gold_spread = gold_ranks @ ranks[0]
        for model, own_ranks in enumerate(ranks[1:]):
            spread = np.sqrt(gold_spread * ((own_ranks * drawn) @ own_ranks))
            found[model, resample] = gold_ranks @ own_ranks / spread if spread else 0.0
    return found


def _check(task: str, student: TaskResult, teacher: TaskResult) -> None:
    for whose, result in (("student", student), ("teacher", teacher)):
        values = [result.score], result.similarities, result.gold, result.experiments
        if not all(np.isfinite(part).all() for part in values if part is not None):
            raise UserError(f"The {whose}'s result on {task} holds a number that is not finite.")
        scores = []
        if result.similarities is not None:
            scores.append(spearmanr(result.similarities, result.gold).statistic * 100)
        if result.experiments is not None:
            scores.append(np.mean(result.experiments))
        if any(abs(score - result.score) > 0.05 for score in scores):
            raise ValueError(f"{task}: the {whose}'s score {result.score} is not what its values give, {scores}")
    if not _paired(student, teacher):
        raise ValueError(f"{task}: student and teacher were not measured on the same pairs or experiments")


def _paired(student: TaskResult, teacher: TaskResult) -> bool:
    if student.similarities is not None and teacher.similarities is not None:
        return np.array_equal(np.asarray(student.gold), np.asarray(teacher.gold))
    if student.experiments is not None and teacher.experiments is not None:
        return len(student.experiments) == len(teacher.experiments)
    return True
