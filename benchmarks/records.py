"""What every benchmark writes: results/NAME.json, and a table in results/NAME.md for the README."""

import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from asterisk.manifest import write_json

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """What the figures were measured on."""
    processor = platform.processor() or platform.machine()
    names = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    name = next(names, f"model name: {processor}").partition(":")[2].strip()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def write_record(name: str, result: dict[str, Any], head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes a result with the command that gave it, and its table, which is printed too."""
    command = shlex.join(["python", *sys.argv])
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", {"command": command, **result})
    table = "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)])
    (RESULTS / f"{name}.md").write_text(table + "\n", encoding="utf-8")
    print(table)
