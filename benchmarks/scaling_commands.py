"""Run the commands of docs/scaling.md as they stand: on this machine, and on a Slurm cluster with two kills.

    python -m benchmarks.scaling_commands

The page's commands embed 2,000 sentences in eight tasks, once by two workers of this machine and once by a job array
of Slurm. Of the array, one task is cancelled and the worker of another is killed; the same command again completes the
store, which must equal that of the workers bit for bit. Then `train.slurm` trains from it. Slurm needs Debian's
packages slurm-wlm and munge. The results go to results/scaling_commands.json and .md.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from asterisk.core.files import read_json
from benchmarks.cluster_faults import contents, kill_one_of, processes_with
from benchmarks.records import REPOSITORY, machine, write_record
from tests.support.paths import python_path
from tests.support.slurm import Slurm, slurm_cluster

PAGE = REPOSITORY / "docs" / "scaling.md"
MOST_SECONDS = 3_000.0


def block(page: str, language: str, word: str) -> str:
    """The first block of a page with a word."""
    return next(text for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if word in text)


def sandbox(folder: Path) -> Path:
    """A folder that looks like the repository, without its runs."""
    (folder / "runs").mkdir(parents=True)
    programs = [path.name for path in REPOSITORY.glob("*.py")]
    for name in ("modeling_asterisk", "asterisk", "recipes", *programs):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a command in a sandbox and return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "PYTHONPATH": python_path(), **environment}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def kill_two(slurm: Slurm, folder: Path) -> None:
    """Cancel a running task and kill the worker of another, which runs in this folder."""
    end = time.monotonic() + MOST_SECONDS
    while len(running := slurm.jobs(states="running")) < 2:
        if time.monotonic() > end:
            raise TimeoutError("no two tasks run at once")
        time.sleep(0.1)
    slurm.run("scancel", next(iter(running)))
    while True:
        workers = processes_with("asterisk.teachers.cluster", "--task")
        if kill_one_of([worker for worker in workers if worker.cwd() == str(folder)]):
            return
        time.sleep(0.1)


def measure(folder: Path) -> dict[str, Any]:
    """Run the commands; return what came of them."""
    page = PAGE.read_text(encoding="utf-8")
    embed, train = block(page, "bash", "--workers 2").splitlines()
    submit = block(page, "bash", "--executor slurm").strip()
    here, there = sandbox(folder / "here"), sandbox(folder / "there")
    run(embed, here)
    run(train, here)
    (there / "train.slurm").write_text(block(page, "sh", "#SBATCH"))
    with slurm_cluster(folder / "slurm", processors=2) as slurm:
        run(submit, there, **slurm.environment)
        kill_two(slurm, there)
        slurm.wait(MOST_SECONDS)
        was_complete = "shards" in (read_json(there / "runs" / "store" / "manifest.json", required=False) or {})
        run(submit, there, **slurm.environment)
        slurm.wait(MOST_SECONDS)
        run(block(page, "bash", "sbatch").strip(), there, **slurm.environment)
        slurm.wait(MOST_SECONDS)
    stores = [contents(str(place / "runs" / "store")) for place in (here, there)]
    return {
        "sentences": read_json(there / "runs" / "store" / "manifest.json")["settings"]["sentences"],
        "shards": sum(name.endswith(".arrow") for name in stores[1]),
        "complete after the kills": was_complete,
        "bit-equal after the second command": stores[0] == stores[1],
        "trained": all((run / "model" / "config.json").exists() for run in (here / "runs/mine", there / "runs/slurm")),
    }


def main() -> None:
    """Run everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        found = measure(Path(work))
    found["minutes"] = (time.perf_counter() - start) / 60
    rows = [[name, f"{value:.0f}" if isinstance(value, float) else str(value)] for name, value in found.items()]
    write_record("scaling_commands", {"machine": machine(), **found}, ["the commands of this page", ""], rows)


if __name__ == "__main__":
    main()
