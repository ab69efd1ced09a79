"""The script for a GPU runs in its smallest form on a CPU, so that it runs at the first try where a GPU is."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY


@pytest.mark.slow
def test_script_for_a_gpu_runs_on_a_cpu() -> None:
    result = subprocess.run(
        ["bash", "benchmarks/gpu.sh", "", "--smallest"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    measured = dict(re.findall(r"^\| (\w+: [^|]+) \| ([^|]+) \|$", result.stdout, re.MULTILINE))
    tasks = ("encoding", "embedding", "training")
    assert {f"{task}: {name}" for task in tasks for name in ("asterisk", "not the model")} < measured.keys()
