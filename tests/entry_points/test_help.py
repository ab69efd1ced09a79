"""Every command explains itself quickly, in groups, with one spelling of each flag."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asterisk.command_line import COMMANDS, usage
from tests.support.paths import REPOSITORY, RunScript
from tests.support.programs import run_here

GROUPS = {
    "distill": ["corpus", "teacher", "student", "objectives", "training", "output"],
    "head": ["data", "training", "labelling", "decisions", "files"],
    "evaluate": ["model", "comparison", "tasks", "classification", "report", "output"],
    "publish": ["folder", "card", "push"],
    "embed": ["texts", "model", "output"],
    "serve": ["service", "limits"],
}
# Seconds of processor time; on a quiet machine the wall clock shows hardly more.
LONGEST = 2.0
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_grouped_and_shows_each_flag_once(command: str, run_script: RunScript) -> None:
    before = os.times()
    result = run_script(COMMANDS[command], "--help")
    after = os.times()
    assert result.returncode == 0, result.stderr
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds < LONGEST
    lines = result.stdout.splitlines()
    assert f"    python {COMMANDS[command]}" in result.stdout
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert set(GROUPS[command]) <= set(titles), titles
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    assert len(flags) == len(set(flags))
    assert not any("-" in flag.lstrip("-") for flag in flags)
    assert "(default: )" not in result.stdout
    assert "[" not in "".join(line for line in lines if line.startswith("  --") and "..." not in line)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_flag_names_the_nearest(command: str) -> None:
    result = run_here(COMMANDS[command], "--conf", "recipe.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("error: There is no option '--conf'; the nearest is --config")


@pytest.mark.parametrize("command", ["head", "evaluate", "publish", "serve"])
def test_several_processes_are_refused_before_anything_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run_here(str(REPOSITORY / COMMANDS[command]), "--config", "none", folder=tmp_path)
    assert result.returncode == 2
    assert f"error: {COMMANDS[command]} runs in one process, but 2 were started" in result.stderr
    assert not os.listdir(tmp_path)


def test_command_lists_the_programs() -> None:
    assert [line.split()[0] for line in usage().splitlines()[2:-2]] == list(COMMANDS)


def test_unknown_command_is_refused() -> None:
    command = [sys.executable, "-m", "asterisk.command_line", "trian"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: There is no command 'trian'; the commands are " + ", ".join(COMMANDS) + ".\n"
