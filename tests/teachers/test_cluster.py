"""Tasks of a cluster embed a corpus together, and make the store that one process would have made."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.teachers import cluster
from asterisk.teachers.arguments import ClusterArguments
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.precomputed import PrecomputedTeacher
from asterisk.teachers.store import EmbeddingStore
from benchmarks import cluster_faults
from tests.support.paths import REPOSITORY
from tests.support.slurm import slurm_cluster, slurm_is_installed
from tests.support.stores import QuickTeacher, contents, quick_corpus

TEXTS = [f"sentence number {number}" for number in range(320)]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, their vectors, and the store that one process makes of them."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    np.save(folder / "texts.npy", np.random.default_rng(0).standard_normal((len(TEXTS), 16), dtype=np.float32))
    corpus = build_corpus([str(folder / "texts.txt")], folder / "corpus", rows_per_shard=16)
    embed_corpus(corpus, PrecomputedTeacher(str(folder / "texts.npy")), folder / "alone")
    return folder


def command(material: Path, store: Path, *flags: str) -> list[str]:
    given = ["--corpus", material / "texts.txt", "--teacher", f"vectors:{material / 'texts.npy'}", "--exclude", "none"]
    given += ["--rows_per_shard", 16, "--store_dir", store, *flags]
    return [sys.executable, "-m", "asterisk.teachers.cluster", *map(str, given)]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=300)


def shards(store: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(store).items() if not name.startswith(("corpus/", "logs/"))}


def start_workers(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Starts two workers on three tasks."""
    program = f"""
import sys
from functools import partial
from pathlib import Path
from asterisk.core.errors import entry_point
from asterisk.data.corpus import load_corpus
from asterisk.teachers.arguments import ExecutorArguments
from asterisk.teachers.executors import EmbedShards, run_processes
from tests.support.stores import quick_teacher
if __name__ == "__main__":
    folder = Path({str(folder)!r})
    teacher = partial(quick_teacher, log=folder / "log", seconds={seconds})
    step = EmbedShards(load_corpus(folder / "corpus"), str(folder / "store"), teacher)
    entry_point(lambda: run_processes(step, ExecutorArguments(tasks=3, workers=2)))()
"""
    script = folder / "run.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "command"])
def test_workers_that_were_killed_go_on_to_the_store_of_one_process(tmp_path: Path, victim: str) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    log = tmp_path / "log"
    log.touch()
    killed = start_workers(tmp_path, seconds=0.2)
    while len(log.read_text().splitlines()) < 6:
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.01)
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()}
    os.kill(max(workers) if victim == "worker" else killed.pid, signal.SIGKILL)
    _, errors = killed.communicate(timeout=60)
    if victim == "worker":
        assert killed.returncode == 2, errors
        assert errors.startswith("error: A worker was killed")
    # Workers do not outlive the command.
    psutil.wait_procs([psutil.Process(worker) for worker in workers if psutil.pid_exists(worker)], timeout=20)
    assert not any(psutil.pid_exists(worker) for worker in workers)
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(tmp_path / "store")
    resumed = start_workers(tmp_path, seconds=0.0)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors[-3000:]
    calls = [line.split(maxsplit=1) for line in log.read_text().splitlines()]
    assert {text for _, text in calls} == {corpus.shard(index)[0] for index in range(20)}
    # At most what the two workers were at was done again.
    assert len(calls) <= 22
    embed_corpus(corpus, QuickTeacher(), tmp_path / "alone")
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


IS_INSTALLED = {
    "Slurm": slurm_is_installed(),
    "Ray": importlib.util.find_spec("ray") is not None,
    "S3": all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", IS_INSTALLED)
def test_cluster_completes_a_store_after_a_kill(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make soak-cluster` does the same, often."""
    if not IS_INSTALLED[name]:
        pytest.skip(f"{name} is not installed")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))  # restored after the test
    truth = cluster_faults.make_material(tmp_path, shards=24)
    with cluster_faults.PLACES[name](tmp_path) as place:
        (counts,) = cluster_faults.survive(place, 1, tmp_path, truth)
    assert counts["equal"] == 1, (tmp_path / "output.log").read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(not IS_INSTALLED["Slurm"], reason="needs Debian's packages slurm-wlm and munge")
def test_slurm_refuses_in_one_sentence(material: Path, tmp_path: Path) -> None:
    flags = ["--executor", "slurm", "--partition", "none", "--tasks", "2"]
    with slurm_cluster(tmp_path / "slurm") as slurm:
        refused = run(command(material, tmp_path / "store", *flags), **slurm.environment)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert refused.stderr.startswith("error: Slurm refuses the job: sbatch: error: invalid partition")


@pytest.mark.slow
def test_task_of_any_scheduler_embeds_its_share(material: Path, tmp_path: Path) -> None:
    embed = command(material, tmp_path / "store", "--corpus_dir", str(material / "corpus"), "--tasks", "2")
    for task in ("1", "0"):
        result = run([*embed, "--task", task])
        assert result.returncode == 0, result.stderr[-3000:]
    assert shards(tmp_path / "store") == shards(material / "alone")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--corpus is missing"),
        ("--corpus x --teacher y --store_dir z --executor k8s", "must be local, slurm or ray, not 'k8s'"),
        ("--corpus x --teacher y --store_dir z --executor slurm", "--partition is missing"),
        ("--corpus x --teacher y --store_dir z --tasks 0", "--tasks must be at least 1, not 0"),
        ("--corpus x --teacher y --store_dir z --tasks 4 --task 4", "--task must be less than --tasks (4), not 4"),
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


@pytest.mark.parametrize(
    ("flags", "message"),
    [("ray", r"needs Ray; pip install '\.\[cluster\]'"), ("slurm", "needs sbatch; run the command on a login node")],
)
def test_missing_cluster_is_named(flags: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=message):
        cluster.check_arguments(
            ClusterArguments(corpus=["x"], teacher="y", store_dir="z", executor=flags, partition="all")
        )
