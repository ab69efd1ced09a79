"""After any fault, files under their final names are whole, and the same command continues or names the remedy."""

import ast
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

import publish
import train_distill
import train_head
from asterisk.core.checksums import verify_checksums, write_checksums
from asterisk.core.files import atomic_folder
from asterisk.teachers.embed_corpus import embed_corpus
from tests.support.faults import Run, model_files, refusal
from tests.support.flags import distillation_flags, head_flags
from tests.support.mounting import enlarge, read_only, small_file_system
from tests.support.paths import REPOSITORY, RunScript, soak
from tests.support.stores import QuickTeacher, contents, quick_corpus, word_tokenizer

CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today", "os.path.getmtime"}
PROGRAMS = sorted(path for pattern in ("*.py", "asterisk/**/*.py") for path in REPOSITORY.glob(pattern))


# Kills


@soak
def test_a_killed_stage_continues_to_the_files_of_an_undisturbed_run(run_script: RunScript) -> None:
    """`make soak` kills a hundred times, in all stages."""
    stages = ["embedding", "distillation", "head, full"]
    result = run_script("-m", "benchmarks.faults", "--kills", 3, "--unrecorded", "--stages", *stages, timeout=1800)
    assert result.returncode == 0, result.stderr[-3000:]
    # Killed progress bars leave empty lines.
    assert [line.partition(": ")[0] for line in result.stdout.splitlines() if line.strip()] == stages


def replace_and_die(folder: Path, change: int) -> None:
    """Replace a folder and kill this process at a change to the file system."""
    changes = itertools.count(1)

    def count(event: str, _: tuple) -> None:
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and next(changes) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    replace(folder, "new")
    os._exit(0)


def replace(folder: Path, word: str) -> None:
    with atomic_folder(folder) as temporary:
        for name in ("a.txt", "b.txt"):
            (temporary / name).write_text(word)
        write_checksums(temporary)


@pytest.mark.slow
def test_a_replaced_folder_is_whole_whenever_the_process_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    for change in itertools.count(1):
        replace(folder, "old")
        process = multiprocessing.get_context("fork").Process(target=replace_and_die, args=(folder, change))
        process.start()
        process.join()
        there = folder if folder.exists() else tmp_path / ".hub.old"
        verify_checksums(there, "this was half-written")
        if process.exitcode == 0:
            break
        # The next replacement restores the old folder if it fails, and removes it if it succeeds.
        with pytest.raises(ZeroDivisionError), atomic_folder(folder):
            _ = 1 / 0
        verify_checksums(folder, "the old folder is lost")
        replace(folder, "third")
        assert {path.name for path in tmp_path.iterdir()} == {"hub"}
    assert change > 10


def test_a_run_killed_before_its_record_is_written_starts_again(material: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".run.json.elsewhere.123.tmp").write_text("{")
    flags = head_flags(material, tmp_path / "out", "frozen")
    status, errors = run(train_head, flags)
    assert status == 0, errors


@contextmanager
def launched(script: Path | str, flags: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    """Two ranks of one run and their launcher; none outlives the test."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    with subprocess.Popen(
        [*command, *map(str, itertools.chain(*flags.items()))],
        cwd=REPOSITORY,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@soak
def test_a_run_ends_with_the_reason_when_a_rank_is_killed_and_can_be_resumed(material: Path, tmp_path: Path) -> None:
    flags = distillation_flags(material, tmp_path / "run") | {"--batch_size": 16, "--num_epochs": 20}
    with launched("train_distill.py", flags) as killed:
        while not list((tmp_path / "run" / "checkpoints").glob("step-*")):
            assert killed.poll() is None, killed.communicate()[1][-3000:]
            time.sleep(0.05)
        ranks = {
            process.environ()["RANK"]: process
            for process in psutil.Process(killed.pid).children(recursive=True)
            if "RANK" in process.environ()
        }
        ranks["1"].kill()
        _, errors = killed.communicate(timeout=300)
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL) received by PID" in errors
    assert not (tmp_path / "run" / "model").exists()
    with launched("train_distill.py", flags) as resumed:
        _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors[-3000:]
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


# Full disks


@pytest.mark.slow
def test_a_store_continues_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=8, rows=100)

    def make(folder: Path) -> None:
        embed_corpus(corpus, QuickTeacher(), folder).tokens(word_tokenizer(), 8)

    make(tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    needed = sum(-(-len(content) // 4096) for content in expected.values()) * 4
    moment = random.Random(0)
    refused = 0
    for turn in range(20):
        disk = tmp_path / f"disk{turn}"
        with small_file_system(disk, f"{moment.randint(4, needed)}k"):
            if said := refusal(partial(make, disk / "store")):
                assert "could not be written: No space left" in said
                refused += 1
            found = contents(disk / "store")
            written = {name for name in found if not name.rpartition("/")[2].startswith((".", "manifest", "shard"))}
            assert all(found[name] == expected[name] for name in written)
            enlarge(disk, "16m")
            make(disk / "store")
            assert contents(disk / "store") == expected
    assert refused >= 15


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distillation", "frozen", "full"])
def test_training_continues_when_a_full_disk_has_room_again(
    material: Path, tmp_path: Path, run: Run, kind: str
) -> None:
    def flags(folder: Path) -> dict[str, object]:
        return distillation_flags(material, folder) if kind == "distillation" else head_flags(material, folder, kind)

    program = train_distill if kind == "distillation" else train_head
    assert run(program, flags(tmp_path / "undisturbed"))[0] == 0
    expected = model_files(tmp_path / "undisturbed")
    moment = random.Random(0)
    disk = tmp_path / "disk"
    with small_file_system(disk, "8k"):
        for size in sorted(moment.randint(8, 240) for _ in range(3)):
            enlarge(disk, f"{size}k")
            status, errors = run(program, flags(disk / "out"))
            if status:
                assert status == 2
                last = errors.splitlines()[-1]
                assert "could not be written" in last or "cannot be created" in last
                assert "No space left" in last or "is the disk full?" in last
        enlarge(disk, "64m")
        status, errors = run(program, flags(disk / "out"))
        assert status == 0, errors
        assert model_files(disk / "out") == expected


def test_publishing_on_a_full_disk_leaves_nothing(material: Path, tmp_path: Path, run: Run) -> None:
    disk = tmp_path / "disk"
    with small_file_system(disk, "8k"):
        status, errors = run(publish, {"--checkpoint": material / "model", "--output_dir": disk / "hub"})
        assert status == 2
        assert f"{disk / 'hub'} could not be written" in errors.splitlines()[-1]
        assert not list(disk.iterdir())


def test_a_read_only_folder_is_named(material: Path, tmp_path: Path, run: Run) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    with read_only(closed):
        for program, flags in (
            (train_distill, distillation_flags(material, closed / "out")),
            (train_head, head_flags(material, closed / "out", "frozen")),
            (publish, {"--checkpoint": material / "model", "--output_dir": closed / "out"}),
        ):
            status, errors = run(program, flags)
            last = errors.splitlines()[-1]
            assert (status, str(closed) in last, "Read-only file system" in last) == (2, True, True), errors


# Damage


# Clocks


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_program_reads_the_wall_clock(path: Path) -> None:
    """A jump of the clock must not matter; durations come from monotonic clocks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {name for name in called if any(name.endswith(clock) for clock in CLOCKS)}
