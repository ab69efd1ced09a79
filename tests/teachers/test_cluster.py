"""Tasks of a cluster embed a corpus together, and make the store that one process would have made."""

import importlib.util
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.teachers import cluster
from asterisk.teachers.arguments import ClusterArguments
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.store import EmbeddingStore
from tests.support.paths import REPOSITORY, TEACHER
from tests.support.stores import QuickTeacher, contents, quick_corpus

needs_datatrove = pytest.mark.skipif(
    importlib.util.find_spec("datatrove") is None, reason="needs pip install '.[cluster]'"
)


def start_local(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Starts two workers on three tasks, in a process group of their own."""
    program = f"""
import sys
from functools import partial
from pathlib import Path
from asterisk.data.corpus import Corpus
from asterisk.teachers.arguments import ExecutorArguments
from asterisk.teachers.executors import EmbedShards, make_executor
from tests.support.stores import quick_teacher
if __name__ == "__main__":
    folder = Path({str(folder)!r})
    step = EmbedShards(
        Corpus(folder / "corpus", {{}}, [16] * 20),
        str(folder / "store"),
        partial(quick_teacher, log=folder / "log", seconds={seconds}),
    )
    make_executor(step, ExecutorArguments(tasks=3, workers=2)).run()
"""
    script = folder / "run.py"
    script.write_text(program)
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@needs_datatrove
@pytest.mark.slow
def test_workers_that_were_killed_go_on_to_the_store_of_one_process(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    (tmp_path / "log").touch()
    killed = start_local(tmp_path, seconds=0.2)
    while len((tmp_path / "log").read_text().splitlines()) < 6:
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(tmp_path / "store")
    resumed = start_local(tmp_path, seconds=0.0)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors[-3000:]
    calls = [line.split(maxsplit=1) for line in (tmp_path / "log").read_text().splitlines()]
    assert {text for _, text in calls} == {corpus.shard(index)[0] for index in range(20)}
    # At most what the two workers were at was done again.
    assert len(calls) <= 22
    embed_corpus(corpus, QuickTeacher(), tmp_path / "alone")
    made = contents(tmp_path / "store")
    assert {name: made[name] for name in made if not name.startswith("logs/")} == contents(tmp_path / "alone")


@needs_datatrove
@pytest.mark.slow
def test_command_embeds_with_the_teacher_by_slurms_job_array(tmp_path: Path) -> None:
    """Shell scripts stand in for Slurm: they run the tasks of the array one after the other."""
    (tmp_path / "texts.txt").write_text("\n".join(f"sentence number {n}" for n in range(40)))
    programs = tmp_path / "bin"
    programs.mkdir()
    script = """#!/bin/bash
last=$(grep -oP '(?<=--array=0-)[0-9]+' "${@: -1}" || true)
if [ -n "$last" ]; then
    export SLURM_NODELIST=here RUN_OFFSET=0
    for task in $(seq 0 "$last"); do SLURM_ARRAY_TASK_ID=$task bash "${@: -1}" >&2 || exit 1; done
fi
echo Submitted batch job 1
"""
    for name, content in {
        "sbatch": script,
        "srun": '#!/bin/bash\nwhile [ "$1" != launch_pickled_pipeline ]; do shift; done\nexec "$@"\n',
        "scontrol": "#!/bin/bash\necho here\n",
    }.items():
        (programs / name).write_text(content)
        (programs / name).chmod(stat.S_IRWXU)
    flags = ["--corpus", tmp_path / "texts.txt", "--teacher", TEACHER, "--store_dir", tmp_path / "store"]
    flags += ["--teacher_dtype", "float32", "--executor", "slurm", "--partition", "any", "--tasks", "2"]
    result = subprocess.run(
        [sys.executable, "-m", "asterisk.teachers.cluster", *map(str, flags)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Corpus: 40 sentences" in result.stdout
    store = EmbeddingStore(tmp_path / "store")
    assert len(store) == 40
    assert store.settings["teacher"] == TEACHER
    script = (tmp_path / "store" / "logs" / "launch_script.slurm").read_text()
    assert "#SBATCH --partition=any" in script


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--corpus is missing"),
        ("--corpus x --teacher y --store_dir z --executor k8s", "must be local, slurm or ray, not 'k8s'"),
        ("--corpus x --teacher y --store_dir z --executor slurm", "--partition is missing"),
        ("--corpus x --teacher y --store_dir z --tasks 0", "--tasks must be at least 1, not 0"),
        ("--corpus x --teacher y --store_dir z --workers 0", "--workers must be at least 1, or -1"),
        ("--corpus x --teacher y --store_dir z --tasks many", "--tasks"),
        ("--corpus x --teacher y --store_dir z --nodes 3", "--nodes"),
        ("--corpus missing.txt --teacher y --store_dir z", "missing.txt"),
        ("--corpus x --teacher y --store_dir s3://me:secret@z --corpus_dir c", "--store_dir holds a password or key"),
        ("--corpus x --teacher y --store_dir memory://z", "--corpus_dir must name a folder"),
    ],
)
def test_wrong_arguments_get_one_sentence(
    flags: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(sys, "argv", ["cluster", *flags.split()])
    with pytest.raises(SystemExit, match="2"):
        cluster.main()
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert "secret" not in said


def test_help_comes_without_the_imports_that_take_seconds() -> None:
    program = (
        "import sys; from asterisk.teachers import cluster; sys.argv[1:] = ['--help']\n"
        "try: cluster.main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'datatrove', 'pyarrow'} & set(sys.modules), sorted(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-500:]
    assert "--executor" in result.stdout
    assert "--mem_per_cpu_gb" in result.stdout


def test_missing_datatrove_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install '\.\[cluster\]'"):
        cluster.check_arguments(ClusterArguments())
