"""Start serve.py as its users do."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import REPOSITORY


@dataclass
class Serving:
    """A running service."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder: Path, log: Path, *options: object) -> Iterator[Serving]:
    """Start the service and stop it at the end; stderr, with the name of every import, goes to `log`."""
    port = free_port()
    command = [sys.executable, "serve.py", folder, "--port", port, *options]
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*map(str, command)], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert f":{port}/v1/embeddings" in line, line + log.read_text()[-2_000:]
            started = Serving(port, process)
            wait_for_health(started)
            yield started
        finally:
            process.terminate()


def wait_for_health(service: Serving, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{service.url}/health") as answer:
                assert answer.status == 200
                return
        except urllib.error.URLError:
            assert time.monotonic() < end
            time.sleep(0.05)
