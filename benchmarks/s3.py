"""Compare a store at s3:// with one on a disk: seconds, requests and bytes of embedding and of training.

    python -m benchmarks.s3

The S3 server is a process of its own on this machine (`pip install s3fs 'moto[s3]' flask flask-cors`), so its
processor time counts against S3. Embedding writes shards of 4,096 vectors of the released student; training runs the
loop of train_distill.py with the default student on them. Both sides run in turns, several times, in one process. The
figures are medians, and the ratio of S3 to the disk is the median over the turns. Training from S3 is timed after the
shards have been copied, which happens once. The results go to results/s3.json and .md.
"""

import argparse
import lzma
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

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


def embed(corpus: Corpus, teacher: SentenceTransformerTeacher, location: Path | str) -> float:
    """Embed a corpus into a new store; return the seconds."""
    start = time.perf_counter()
    embed_corpus(corpus, teacher, location)
    return time.perf_counter() - start


def train(store: EmbeddingStore, teacher: SentenceTransformerTeacher, steps: int) -> float:
    """Sentences per second of a training from a store."""
    tokenizer = student_tokenizer(teacher, 64)
    student = AsteriskModel(AsteriskConfig(vocab_size=len(tokenizer)))
    return loop_speed(student, store.tokens(tokenizer, 64), store, BATCH_SIZE, steps, False)


def measure(server: S3, folder: Path, turns: int, sentences: int, steps: int) -> dict[str, object]:
    """Measure both sides in turns."""
    texts: list[str] = []
    for path in sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz")):
        texts += lzma.decompress(path.read_bytes()).decode().splitlines()[: sentences // 10]
    (folder / "texts.txt").write_text("\n".join(dict.fromkeys(texts[:sentences])), encoding="utf-8")
    corpus = build_corpus([str(folder / "texts.txt")], folder / "corpus", rows_per_shard=ROWS_PER_SHARD)
    teacher = SentenceTransformerTeacher(str(REPOSITORY / "release" / "asterisk"), "float32", device="cpu")
    embed(corpus, teacher, folder / "warm_up")
    seconds: dict[str, list[float]] = {"disk": [], "s3": []}
    speeds: dict[str, list[float]] = {"disk": [], "s3": []}
    for turn in range(turns):
        disk, url = folder / f"store-{turn}", f"s3://{BUCKET}/store-{turn}"
        server.set_faults()
        seconds["s3"].append(embed(corpus, teacher, url))
        written = server.counts()
        seconds["disk"].append(embed(corpus, teacher, disk))
        shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "asterisk")
        server.set_faults()
        store = EmbeddingStore(url)
        store.check_shards()
        read = server.counts()
        speeds["s3"].append(train(store, teacher, steps))
        again = server.counts()
        speeds["disk"].append(train(EmbeddingStore(disk), teacher, steps))
    shards = len(corpus.rows_per_shard)
    return {
        "sentences": corpus.num_sentences,
        "shards": shards,
        "embedding_seconds": seconds,
        "embedding_overhead": statistics.median(np.array(seconds["s3"]) / seconds["disk"]) - 1,
        "training_sentences_per_second": speeds,
        "training_overhead": statistics.median(np.array(speeds["disk"]) / speeds["s3"]) - 1,
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
    parser.add_argument("--turns", type=int, default=5, help="turns of each side")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="sentences of the store")
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, s3_server(Path(work) / "s3.log") as server:
        os.environ.update(server.environment)
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        found = measure(server, Path(work), options.turns, options.sentences, options.steps)
    rows = [
        ["embedding takes longer than on a disk by", f"{found['embedding_overhead']:.1%}"],
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
