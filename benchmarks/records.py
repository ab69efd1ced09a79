"""What every benchmark writes: results/NAME.json, and a table in results/NAME.md for the README."""

import contextlib
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from asterisk.core.files import write_json

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """What the figures were measured on."""
    processor = platform.processor() or platform.machine()
    names = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    name = next(names, f"model name: {processor}").partition(":")[2].strip()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def most_memory(process: subprocess.Popen[bytes], counter: str, interval: float = 0.005) -> float:
    """Waits for a process, and says the most that a counter of /proc/PID/status showed while it ran, in MB.

    VmHWM counts files that are mapped, RssAnon does not. (The system's own sum at the end, ru_maxrss, begins with what
    the process that started this one held.)
    """
    found = [0]
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            found += map(int, re.findall(rf"^{counter}:\s+(\d+) kB", status, re.MULTILINE))
        time.sleep(interval)
    return (found[-1] if counter == "VmHWM" else max(found)) / 1024


def timed_process(arguments: Sequence[str], interval: float = 0.005) -> tuple[float, float]:
    """Seconds that a Python lives, and the most memory it holds, in MB; it runs offline, here, and must succeed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL
    )
    megabytes = most_memory(process, "VmHWM", interval)
    seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"error: this failed: python {shlex.join(arguments)}")
    return seconds, megabytes


def write_record(name: str, result: dict[str, Any], head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a result with the command that gave it, and its table, which is printed too."""
    command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", {"command": command, **result})
    table = "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)])
    (RESULTS / f"{name}.md").write_text(table + "\n", encoding="utf-8")
    print(table)
