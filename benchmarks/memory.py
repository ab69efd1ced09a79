"""Measure the memory of embedding a corpus and of training from its store as the corpus doubles.

    python -m benchmarks.memory --folder /var/tmp/memory

The sentences are synthetic, of 8 to 20 words. The teacher returns 384 random dimensions at once, so that only the
memory of this project is measured. Training takes one epoch with a tiny student. Each phase runs in its own process.
The figure is the growth of the peak resident memory, mapped files included, after the imports, the manifest of the
corpus and the models are loaded. The results go to results/memory.json and .md.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.records import machine, write_record

SIZES = (500_000, 1_000_000, 2_000_000)
DIMENSION = 384
PHASES = ("corpus", "embed", "train")


def peak_bytes() -> int:
    """The peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class InstantTeacher:
    """A teacher that returns random unit vectors at once."""

    name = "instant"
    dimension = DIMENSION
    precision = "float32"
    fingerprint = "instant"
    max_length = None
    tokenizer = None

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`asterisk.teachers.teacher.Teacher`]."""
        vectors = np.random.default_rng(len(texts[0])).standard_normal((len(texts), DIMENSION), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 0


def write_sentences(path: Path, count: int) -> None:
    """Write distinct sentences of random words."""
    generator = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, count, 10_000):
            words = generator.integers(0, 20_000, (10_000, 20))
            for row, (line, length) in enumerate(zip(words, generator.integers(8, 21, 10_000), strict=True)):
                file.write(f"sentence {start + row} " + " ".join(f"w{word}" for word in line[:length]) + "\n")


def run_phase(phase: str, folder: Path, count: int) -> dict[str, float]:
    """Run one phase in this process; return the growth of its memory in bytes, and its seconds."""
    from accelerate import Accelerator  # noqa: F401  imported before the measurement

    from asterisk.data.corpus import build_corpus
    from asterisk.distillation.arguments import LoopArguments
    from asterisk.distillation.loop import Distillation
    from asterisk.distillation.student_tokenizer import student_tokenizer
    from asterisk.teachers.embed_corpus import embed_corpus
    from asterisk.teachers.store import EmbeddingStore
    from modeling_asterisk import AsteriskConfig, AsteriskModel

    store, texts = folder / "store", folder / "texts.txt"
    tokenizer = None
    if phase == "train":
        vocabulary = [f"w{word} sentence 0 1 2 3 4 5 6 7 8 9" for word in range(20_000)]
        tokenizer = student_tokenizer(InstantTeacher(), 64, "trained:20000", vocabulary)  # type: ignore[arg-type]
        student = AsteriskModel(
            AsteriskConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=1,
                projection_dim=32,
            )
        )
    before, start = peak_bytes(), time.perf_counter()
    if phase == "corpus":
        build_corpus([str(texts)], store / "corpus")
    elif phase == "embed":
        embed_corpus(build_corpus([str(texts)], store / "corpus"), InstantTeacher(), store)  # type: ignore[arg-type]
    else:
        (folder / "run").mkdir()
        opened = EmbeddingStore(store)
        arguments = LoopArguments(batch_size=512, eval_steps=10**9, checkpoint_steps=10**9)
        assert tokenizer is not None
        Distillation(student, opened.tokens(tokenizer, 64), opened, arguments, folder / "run").train()
        shutil.rmtree(folder / "run")
    return {"bytes": peak_bytes() - before, "seconds": time.perf_counter() - start}


def main() -> None:
    """Measure each phase at each size and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for about 5 GB; removed afterwards")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(run_phase(options.phase, options.folder, options.count)))
        return
    measured: dict[str, dict[str, dict[str, float]]] = {phase: {} for phase in PHASES}
    for count in SIZES:
        folder = options.folder / str(count)
        folder.mkdir(parents=True)
        write_sentences(folder / "texts.txt", count)
        for phase in PHASES:
            child = [
                sys.executable,
                "-m",
                "benchmarks.memory",
                "--folder",
                str(folder),
                "--phase",
                phase,
                "--count",
                str(count),
            ]
            output = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout
            measured[phase][f"{count:,}"] = json.loads(output.splitlines()[-1])
        shutil.rmtree(folder)
    rows = [
        [phase, *(f"{by_count[f'{count:,}']['bytes'] / 1e6:,.0f}" for count in SIZES)]
        for phase, by_count in measured.items()
    ]
    head = ["resident memory, MB", *(f"{count:,} sentences" for count in SIZES)]
    write_record("memory", {"machine": machine(), "phases": measured}, head, rows)


if __name__ == "__main__":
    main()
