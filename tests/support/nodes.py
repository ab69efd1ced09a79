"""Nodes of a cluster on this machine: network namespaces with an address each, joined by a link that can be cut."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.paths import REPOSITORY, python_path

PORT = 29_500
LINK = "veth0"


@dataclass
class Nodes:
    """Two namespaces; `addresses` are those of the nodes."""

    names: tuple[str, str]
    addresses: tuple[str, str] = ("10.99.0.1", "10.99.0.2")

    def start(self, node: int, command: list[Any], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command on a node, in a process group of its own."""
        variables = {**os.environ, "GLOO_SOCKET_IFNAME": LINK, "ACCELERATE_USE_CPU": "true", **environment}
        variables["PYTHONPATH"] = python_path()
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.names[node], *map(str, command)],
                cwd=REPOSITORY,
                env=variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def launch(self, script: list[Any], logs: Path, processes: int, nodes: int = 2) -> list[subprocess.Popen[bytes]]:
        """Start a script by `accelerate launch` on the first nodes, with so many processes on each."""
        started = []
        for node in range(nodes):
            flags = ["--multi_gpu", "--num_machines", nodes, "--machine_rank", node]
            flags += ["--num_processes", processes * nodes, "--main_process_ip", self.addresses[0]]
            flags += ["--main_process_port", PORT, "--mixed_precision", "no", "--dynamo_backend", "no"]
            command = [sys.executable, "-m", "accelerate.commands.launch", *flags, *script]
            started.append(self.start(node, command, logs / f"node{node}.log"))
        return started

    def cut(self) -> None:
        """Cut the link."""
        _ip("-n", self.names[1], "link", "set", LINK, "down")

    def join(self) -> None:
        """Restore the link."""
        _ip("-n", self.names[1], "link", "set", LINK, "up")


@contextlib.contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Create the namespaces, which needs the rights of root; end what runs in them, and remove them."""
    names = (f"asterisk-{os.getpid()}-0", f"asterisk-{os.getpid()}-1")
    nodes = Nodes(names)
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "name", LINK, "netns", names[0], "type", "veth", "peer", "name", LINK, "netns", names[1])
        for name, address in zip(names, nodes.addresses, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", LINK)
            for device in ("lo", LINK):
                _ip("-n", name, "link", "set", device, "up")
        yield nodes
    finally:
        for name in names:
            listed = subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, text=True, check=False)
            for process in map(int, listed.stdout.split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def can_make_nodes() -> bool:
    """Return whether this process may create namespaces."""
    if os.geteuid():
        return False
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        name = f"asterisk-{os.getpid()}-probe"
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
        return True
    return False


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all that it started, as a node that loses its power."""
    root = psutil.Process(process.pid)
    for each in [*root.children(recursive=True), root]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def wait_for_line(path: Path, text: str, seconds: float) -> None:
    """Wait until a file holds a text.

    Raises:
        TimeoutError: It does not after these seconds.
    """
    end = time.monotonic() + seconds
    while not path.exists() or text not in path.read_text(errors="replace"):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} holds no {text!r}")
        time.sleep(0.1)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stderr=subprocess.PIPE)
