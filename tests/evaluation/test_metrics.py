"""Metrics follow their definitions, and their scripts load offline, in several processes at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.evaluation.metrics.functions import load_metric
from tests.support.paths import REPOSITORY

# Two processes after one import of the libraries, which takes seconds.
SCRIPT = """
import os
import evaluate
from asterisk.evaluation.metrics.functions import load_metric
child = os.fork()
print(load_metric("classification").compute(predictions=[0, 1], references=[0, 0]), flush=True)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_classification_gives_accuracy_and_the_mean_f1_of_classes() -> None:
    scores = load_metric("classification").compute(predictions=[0, 0, 1, 2], references=[0, 1, 1, 1])
    # F1 per class: 2 · (1/2 · 1) / (3/2), 2 · (1 · 1/3) / (4/3), and 0 for class 2.
    assert scores == pytest.approx({"accuracy": 0.5, "macro_f1": (2 / 3 + 1 / 2 + 0) / 3})


def test_a_text_with_several_labels_is_accurate_only_if_all_are_right() -> None:
    metric = load_metric("classification", "multilabel")
    scores = metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [1, 0]])
    assert scores == pytest.approx({"accuracy": 0.5, "macro_f1": 0.5})


def test_regression_gives_correlations_of_values_and_of_ranks() -> None:
    scores = load_metric("regression").compute(predictions=[1.0, 2.0, 10.0], references=[1.0, 2.0, 3.0])
    assert scores["spearman"] == pytest.approx(1)
    assert scores["pearson"] == pytest.approx(0.9122, abs=1e-4)


def test_a_metric_can_be_computed_repeatedly() -> None:
    metric = load_metric("classification")
    for references, accuracy in (([0, 1], 1.0), ([1, 0], 0.0)):
        assert metric.compute(predictions=[0, 1], references=references)["accuracy"] == accuracy


@pytest.mark.slow
def test_concurrent_processes_load_offline_into_one_empty_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("{'accuracy': 0.5") == 2


def test_an_unwritable_cache_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", tmp_path / "file")
    monkeypatch.setattr(sys, "path", [*sys.path])  # `evaluate` adds its cache
    with pytest.raises(UserError, match=r"^evaluate cannot copy the metric classification .*set HF_HOME to a folder"):
        load_metric("classification")
