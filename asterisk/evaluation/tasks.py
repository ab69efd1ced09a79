"""The tasks that `--tasks` names: MTEB's from the Hub, or the same task classes on local files."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import mteb
from mteb.abstasks import AbsTask

from asterisk.core.errors import UserError
from asterisk.evaluation.local_data import SUFFIX, load_data, mteb_task
from asterisk.evaluation.local_tasks import (
    BENCHMARKS,
    GROUPS,
    STS5,
    TYPES,
    LocalTask,
    local_groups,
    local_tasks,
    suggestion,
)


@dataclass
class EvaluationTask:
    """A runnable MTEB task; `local` and `folder` are the local task and its data folder, if it reads local files."""

    name: str
    task: AbsTask
    local: LocalTask | None = None
    folder: Path = field(default_factory=Path)

    @property
    def is_mteb(self) -> bool:
        """Whether the task is MTEB's, with MTEB's rows and splits."""
        return self.local is None or self.local.is_mteb

    @property
    def files(self) -> list[str]:
        """The files of a local task, relative to the data folder."""
        return [f"{name}{SUFFIX}" for name in (*self.local.train, *self.local.test)] if self.local else []

    @property
    def remark(self) -> str:
        """How a local task differs from MTEB's, or where its data comes from."""
        return self.local.remark if self.local else ""

    def load(self) -> None:
        """Read the data of a local task; MTEB itself reads the data of other tasks."""
        if self.local:
            load_data(self.local, self.task, self.folder)


def find_tasks(text: str, data_dir: str | None = None) -> list[EvaluationTask]:
    """Find the tasks that `--tasks` names, each once; check their files and columns, but read no data.

    Args:
        text: Names of tasks, groups ([`GROUPS`]) and benchmarks ([`BENCHMARKS`]), separated by commas. With a data
            folder, `NAME:dev` is a task's development part.
        data_dir: The folder of the local tasks' files; with it, nothing comes from the Hub.

    Raises:
        UserError: There is no such task, or a file or column that a task needs is missing.
    """
    # A comma inside parentheses belongs to a name, as in MTEB(eng, v2).
    names = [name.strip() for name in re.split(r",(?![^()]*\))", text) if name.strip()]
    if not names:
        raise UserError(f"--tasks names no task; give a task, a group ({', '.join(GROUPS)}) or a benchmark.")
    if data_dir is None:
        return list({task.name: task for name in names for task in _hub_tasks(name)}.values())
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"There is no data folder {data_dir}; --data_dir takes a folder with sts/, classification/ and so on."
        )
    found = dict.fromkeys(task for name in names for task in local_tasks(name))
    return [local_evaluation_task(task, folder) for task in found]


def local_evaluation_task(task: LocalTask, folder: Path) -> EvaluationTask:
    """Return a runnable local task; raise a [`UserError`] if a file or column is missing."""
    return EvaluationTask(task.name, mteb_task(task, folder), task, folder)


def group_members(local: bool) -> dict[str, list[str]]:
    """Return group → the names of its tasks; on the Hub, benchmarks are also groups."""
    if local:
        return local_groups()
    benchmarks = {name: list(mteb.get_benchmark(name).tasks) for name in BENCHMARKS}
    types = {
        group: [task.metadata.name for task in benchmarks[BENCHMARKS[0]] if task.metadata.type == kind]
        for group, kind in TYPES.items()
    }
    whole = {name: [task.metadata.name for task in tasks] for name, tasks in benchmarks.items()}
    return {"sts5": [*STS5], "sts7": [*STS5, "STS16", "SICK-R"], **types, **whole}


def _hub_tasks(name: str) -> list[EvaluationTask]:
    benchmarks = {benchmark: list(mteb.get_benchmark(benchmark).tasks) for benchmark in BENCHMARKS}
    # A benchmark's own task objects have its language and splits.
    known = {task.metadata.name: task for tasks in reversed(benchmarks.values()) for task in tasks}
    members = group_members(local=False).get(name, [name])
    try:
        tasks = benchmarks.get(name) or [
            known.get(member) or mteb.get_task(member, languages=["eng"]) for member in members
        ]
    except (KeyError, ValueError):
        raise UserError(f"MTEB has no task {name!r}; {suggestion(name, [*GROUPS, *known])}.") from None
    return [EvaluationTask(task.metadata.name, task) for task in tasks]
