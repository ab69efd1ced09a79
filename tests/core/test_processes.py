"""A program that runs in one process refuses to be launched in several; a lost process is named."""

import os
import re
import subprocess
import sys

import pytest

from asterisk.core.errors import UserError
from asterisk.core.processes import require_one_process
from tests.support.paths import REPOSITORY
from tests.support.serving import free_port


def test_several_processes_are_refused_by_the_programs_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/repository/train_head.py"])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"train_head\.py runs in one process, but 2 were started"):
        require_one_process()


RANK = """
import os, signal, torch
from asterisk.core.errors import entry_point
from asterisk.core.processes import report_lost_process, this_process

def main():
    state = this_process()
    with report_lost_process():
        for step in range(3):
            torch.distributed.all_reduce(torch.ones(1))
            if step == state.process_index == 1:
                os.kill(os.getpid(), signal.SIGKILL)

entry_point(main)()
"""


@pytest.mark.slow
def test_lost_process_is_named_with_its_address() -> None:
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    common |= {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    (_, said), _ = (process.communicate(timeout=240) for process in started)
    (sentence,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert started[0].returncode == 2
    pattern = r"error: Process 0 of 2 has lost a process at 127\.0\.0\.1 \([\w ]+\); continue with --resume .*\."
    assert re.fullmatch(pattern, sentence), said
