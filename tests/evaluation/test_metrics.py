"""Metrics load from disk without a network, also in several processes at once, and give the field's own figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asterisk.evaluation.metrics.functions import load_metric
from tests.support.paths import REPOSITORY

SCRIPT = """
from asterisk.core.errors import entry_point
from asterisk.evaluation.metrics.functions import load_metric

@entry_point
def main():
    print(load_metric("classification").compute(predictions=[0, 1], references=[0, 0]))

main()
"""


def process(home: Path) -> subprocess.Popen[str]:
    """A process of its own that loads a metric, with a cache of its own to fill."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_classification_gives_accuracy_and_the_mean_f1_of_classes() -> None:
    scores = load_metric("classification").compute(predictions=[0, 0, 1, 2], references=[0, 1, 1, 1])
    # F1 of the classes: 2/3 of one predicted right and one wrongly, 2 · (1 · 1/3) / (4/3), and nothing of class 2.
    assert scores == pytest.approx({"accuracy": 0.5, "macro_f1": (2 / 3 + 1 / 2 + 0) / 3})


def test_a_text_of_several_classes_is_right_only_if_all_are() -> None:
    metric = load_metric("classification", "multilabel")
    scores = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [1, 0]])
    assert scores == pytest.approx({"accuracy": 0.5, "macro_f1": 0.5})


def test_regression_gives_correlations_of_values_and_of_ranks() -> None:
    scores = load_metric("regression").compute(predictions=[1.0, 2.0, 10.0], references=[1.0, 2.0, 3.0])
    assert scores["spearman"] == pytest.approx(1)
    assert scores["pearson"] == pytest.approx(0.9122, abs=1e-4)


def test_a_metric_serves_more_than_once() -> None:
    metric = load_metric("classification")
    for references, accuracy in (([0, 1], 1.0), ([1, 0], 0.0)):
        assert metric.compute(predictions=[0, 1], references=references)["accuracy"] == accuracy


def test_processes_that_start_together_load_offline_into_one_empty_cache(tmp_path: Path) -> None:
    together = [process(tmp_path), process(tmp_path)]
    for each in together:
        output, errors = each.communicate(timeout=120)
        assert each.returncode == 0, errors
        assert output.startswith("{'accuracy': 0.5")


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    each = process(tmp_path / "file")
    _, errors = each.communicate(timeout=120)
    assert each.returncode == 2
    assert errors.strip().splitlines()[-1].startswith("error: evaluate cannot copy the metric classification")
    assert "HF_HOME" in errors
