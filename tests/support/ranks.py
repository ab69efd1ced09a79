"""Processes that start fast, from a server that has imported everything; also as the ranks of one run."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from tests.support.serving import free_port


def fork_server() -> ForkServerContext:
    """Start a fork server. It has no threads, so that its processes may be killed and may start threads."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(REPOSITORY))
        environment.setenv("ACCELERATE_USE_CPU", "true")
        environment.setenv("OMP_NUM_THREADS", "1")
        context.set_forkserver_preload(["tests.support.stores", "tests.support.trainings", "accelerate"])
        ensure_running()
    return context


def run_ranks(forks: ForkServerContext, ranks: int, target: Callable[..., object], *arguments: Any) -> None:
    """Run a function in so many ranks, which find their number where torchrun writes it."""
    port = free_port()
    processes = [forks.Process(target=_run_rank, args=(rank, ranks, port, target, arguments)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0


def _run_rank(rank: int, ranks: int, port: int, target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": f"{rank}",
        "LOCAL_RANK": f"{rank}",
        "WORLD_SIZE": f"{ranks}",
        "LOCAL_WORLD_SIZE": f"{ranks}",
    }
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    target(*arguments)
