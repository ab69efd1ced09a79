"""Retention of the teacher's scores, and its confidence intervals."""

import time

import numpy as np
import pytest
from scipy.stats import spearmanr

from asterisk.core.errors import UserError
from asterisk.evaluation.retention import BenchmarkResult, measure_retention, resampled_spearman


def sts(noise: float, pairs: int = 500, seed: int = 0) -> BenchmarkResult:
    """An STS task with its many ties in the gold scores."""
    gold = np.round(np.random.default_rng(1).random(pairs) * 5, 1)
    similarities = gold + noise * np.random.default_rng(seed).normal(size=pairs)
    return BenchmarkResult(spearmanr(similarities, gold).statistic * 100, similarities, gold)


def test_resampled_correlations_are_scipys_on_the_same_draws() -> None:
    task = sts(1.0, pairs=60)
    assert task.similarities is not None
    assert task.gold is not None
    similarities = np.round(task.similarities, 1)
    found = resampled_spearman(similarities[None], task.gold, 20, np.random.default_rng(5))
    generator = np.random.default_rng(5)
    draws = [generator.integers(60, size=60) for _ in range(20)]
    expected = [spearmanr(similarities[rows], task.gold[rows]).statistic for rows in draws]
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_retention_against_itself_is_exactly_one() -> None:
    (line,) = measure_retention({"STS": sts(1.0)}, {"STS": sts(1.0)})
    assert (line.retention, line.low, line.high) == (1, 1, 1)


def test_intervals_contain_the_retention_and_shrink_with_more_pairs() -> None:
    widths = []
    for pairs in (200, 5_000):
        (line,) = measure_retention({"STS": sts(2.0, pairs)}, {"STS": sts(1.0, pairs, seed=2)})
        assert line.low is not None
        assert line.high is not None
        assert line.retention is not None
        assert line.low < line.retention < line.high < 1
        assert line.interval == f"{pairs:,} pairs resampled"
        widths.append(line.high - line.low)
    assert widths[1] < widths[0] / 3


def test_a_thousand_resamples_of_five_thousand_pairs_take_under_five_seconds() -> None:
    start = time.process_time()
    measure_retention({"STS": sts(2.0, 5_000)}, {"STS": sts(1.0, 5_000)})
    assert time.process_time() - start < 5


def test_a_group_is_a_ratio_of_means_with_an_interval_if_all_its_tasks_have_one() -> None:
    student = {
        "A": sts(2.0),
        "B": BenchmarkResult(70.0, experiments=[69.0, 70.0, 71.0]),
        "C": BenchmarkResult(30.0),
    }
    teacher = {
        "A": sts(1.0, seed=3),
        "B": BenchmarkResult(80.0, experiments=[80.0, 81.0, 79.0]),
        "C": BenchmarkResult(60.0),
    }
    groups = {"sure": ["A", "B"], "unsure": ["B", "C"], "unmeasured": ["A", "D"]}
    lines = {line.name: line for line in measure_retention(student, teacher, groups)}
    assert list(lines) == ["A", "B", "C", "sure", "unsure"]
    assert lines["B"].interval == "3 experiments resampled"
    assert lines["B"].low is not None
    assert lines["C"].low is None
    assert "nothing to resample" in lines["C"].interval
    assert lines["unsure"].retention == pytest.approx(100 / 140)
    assert lines["unsure"].low is None
    assert "C" in lines["unsure"].interval
    sure = lines["sure"]
    assert sure.low is not None
    assert sure.high is not None
    assert sure.low < (student["A"].score + 70) / (teacher["A"].score + 80) < sure.high


def test_the_same_seed_gives_the_same_intervals() -> None:
    tasks = {"STS": sts(2.0)}, {"STS": sts(1.0, seed=2)}
    assert measure_retention(*tasks) == measure_retention(*tasks)
    assert measure_retention(*tasks) != measure_retention(*tasks, seed=1)


def test_results_of_different_tasks_are_refused() -> None:
    with pytest.raises(UserError, match="no score on STS"):
        measure_retention({"STS": sts(1.0)}, {})
    with pytest.raises(UserError, match="not finite"):
        measure_retention({"A": BenchmarkResult(float("nan"))}, {"A": BenchmarkResult(1.0)})
    with pytest.raises(ValueError, match="same pairs"):
        measure_retention({"STS": sts(1.0, 50)}, {"STS": sts(1.0, 60)})
    with pytest.raises(ValueError, match="contradicts its values"):
        measure_retention({"A": BenchmarkResult(50.0, experiments=[1.0, 2.0])}, {"A": BenchmarkResult(50.0)})


def test_retention_is_undefined_for_a_negative_teachers_score() -> None:
    (line,) = measure_retention({"A": BenchmarkResult(5.0)}, {"A": BenchmarkResult(-1.0)})
    assert line.retention is None
