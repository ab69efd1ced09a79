"""Measure opening and resuming a store of 100,000 shards.

    python -m benchmarks.many_shards --folder /var/tmp/many_shards

The shards are empty files, and the manifest and the markers are like those of a store of 6.6 billion sentences. The
three phases are: opening the complete store, running the embedding again on the complete store, and planning the
missing shards of a store that lacks every tenth, up to the first shard that would be embedded. Each phase runs in its
own process. The figures are the processor time and the growth of the peak resident memory after the imports. The
results go to results/many_shards.json and .md.
"""

import argparse
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.data.corpus import Corpus
from asterisk.teachers.embed_corpus import embed_shards
from asterisk.teachers.shards import shard_name
from asterisk.teachers.store import STORE_VERSION, EmbeddingStore
from benchmarks.records import machine, write_record

SHARDS, ROWS = 100_000, 65_536
PHASES = {"open": "open the complete store", "complete": "embed again: complete", "partial": "plan the missing shards"}


class NoTeacher:
    """A teacher that is never called."""

    name, precision, fingerprint = "none", "float32", "0"
    tokenizer = max_length = None
    dimension = 384

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`asterisk.teachers.teacher.Teacher`]."""
        raise NotImplementedError

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """See [`asterisk.teachers.teacher.Teacher`]."""
        raise NotImplementedError


def make_stores(folder: Path) -> None:
    """Write a complete store and one that lacks every tenth shard."""
    teacher = NoTeacher()
    settings = {
        "teacher": teacher.name,
        "teacher_precision": teacher.precision,
        "teacher_fingerprint": teacher.fingerprint,
        "teacher_tokenizer": None,
        "dimension": teacher.dimension,
        "max_length": None,
        "normalized": True,
        "dtype": "float16",
        "sentences": SHARDS * ROWS,
    }
    shards = [
        {
            "file": shard_name(index),
            "rows": ROWS,
            "truncated": 0,
            "sha256": hashlib.sha256(str(index).encode()).hexdigest(),
        }
        for index in range(SHARDS)
    ]
    begun = {"version": STORE_VERSION, "settings": settings}
    complete = {**begun, "truncated": 0, "truncated_share": 0.0, "shards": shards}
    for name, manifest, missing in (("complete", complete, SHARDS + 1), ("partial", begun, 10)):
        store = folder / name
        store.mkdir(parents=True)
        (store / MANIFEST).write_text(json.dumps(manifest, indent=2))
        done = [shard for index, shard in enumerate(shards, 1) if index % missing]
        for shard in done:
            (store / str(shard["file"])).touch()
        time.sleep(0.1)  # a real marker is younger than its shard
        for shard in done if name == "partial" else []:
            (store / str(shard["file"])).with_suffix(".json").write_text(json.dumps(shard, indent=2))


def memory_mb(counter: str) -> float:
    """A counter of /proc/self/status in MB: VmRSS, the present resident memory, or VmHWM, its peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(counter))
    return int(line.split()[1]) / 1024


def run_phase(phase: str, folder: Path) -> dict[str, float]:
    """Run one phase; return its processor seconds and the growth of the peak memory in MB."""
    corpus = Corpus(folder / "no corpus", {}, [ROWS] * SHARDS)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before, start = memory_mb("VmRSS"), time.process_time()
    if phase == "open":
        EmbeddingStore(folder / "complete")
    else:
        # The first missing shard cannot be read from the corpus.
        with contextlib.suppress(UserError):
            embed_shards(corpus, NoTeacher(), folder / phase, rank=0, world=1)
    seconds = time.process_time() - start
    return {"seconds": seconds, "mb": memory_mb("VmHWM") - before}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, required=True, help="a new folder for 300,000 files; removed afterwards"
    )
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(run_phase(options.phase, options.folder)))
        return
    make_stores(options.folder)
    measured = {}
    for phase in PHASES:
        child = [sys.executable, "-m", "benchmarks.many_shards", "--phase", phase, "--folder", str(options.folder)]
        output = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout
        measured[phase] = json.loads(output.splitlines()[-1])
    shutil.rmtree(options.folder)
    rows = [
        [name, f"{measured[phase]['seconds']:.2f}", f"{measured[phase]['mb']:.0f}"] for phase, name in PHASES.items()
    ]
    head = [f"a store of {SHARDS:,} shards", "CPU seconds", "memory, MB"]
    write_record("many_shards", {"machine": machine(), "phases": measured}, head, rows)


if __name__ == "__main__":
    main()
