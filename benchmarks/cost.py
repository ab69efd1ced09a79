"""Compute what embedding and training cost for 10 million, 1 billion and 10 billion sentences.

    python -m benchmarks.cost

The rates come from the records of this folder: embedding.json, training.json, many_shards.json, s3.json and, where it
exists, gpu.json. The sizes come from the texts of the demo. The bytes that training holds per sentence, and the
seconds to check a file's SHA-256, are measured here. A GPU's rate, if it is not recorded, is computed: the operations
of the teacher per sentence, divided by the share of the GPU's bfloat16 rate that `ASSUMED` names. The results go to
results/cost.json and .md.
"""

import argparse
import hashlib
import lzma
import time
import tracemalloc
from typing import Any

import numpy as np

from asterisk.core.files import read_json
from asterisk.data.corpus import ROWS_PER_SHARD
from asterisk.distillation.batching import batches_from, split_rows
from benchmarks.records import REPOSITORY, RESULTS, machine, write_record

SIZES = (10**7, 10**9, 10**10)
DIMENSION, STUDENT_BATCH = 384, 256
# The teacher of the records: 6 layers of 384 dimensions, without its table.
TEACHER_PARAMETERS = 10_650_000
ASSUMED = {
    "GPU, bfloat16 operations per second": 790e12,
    "share of them reached": 0.2,
    "network, bytes per second": 1e9,
}
MEASURED_ROWS = 2_000_000
GB, TB = 1e9, 1e12


def rates() -> dict[str, float]:
    """The recorded rates, per processor core or per shard."""
    embedding, training = (read_json(RESULTS / f"{name}.json") for name in ("embedding", "training"))
    threads = int(embedding["machine"].partition(", ")[2].split()[0])
    found = {
        "tokens per sentence": embedding["mean_tokens"],
        "embedded per core and second": embedding["sentences_per_second"]["asterisk (bfloat16)"] / threads,
        "trained per core and second": training["median"]["ours (bf16)"] / threads,
    }
    found["requests per shard"] = read_json(RESULTS / "s3.json")["requests_per_shard"]
    if (RESULTS / "gpu.json").exists():
        found["embedded per GPU and second"] = read_json(RESULTS / "gpu.json")["embedding"]["asterisk"]
    else:
        operations = 2 * TEACHER_PARAMETERS * found["tokens per sentence"]
        reached = ASSUMED["GPU, bfloat16 operations per second"] * ASSUMED["share of them reached"]
        found["embedded per GPU and second"] = reached / operations
    return found


def text_bytes() -> float:
    """The mean length of the demo's sentences in bytes."""
    files = sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz"))
    texts = b"".join(lzma.decompress(path.read_bytes()) for path in files)
    return len(texts) / texts.count(b"\n")


def training_bytes() -> float:
    """The bytes per sentence that the order of the batches takes at its peak, with the lengths of the texts."""
    lengths = np.random.default_rng(0).integers(4, 64, MEASURED_ROWS, dtype=np.int32)
    tracemalloc.start()
    rows, _ = split_rows(MEASURED_ROWS, 1000, 0)
    next(batches_from(0, lengths, rows, STUDENT_BATCH, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak + lengths.nbytes) / MEASURED_ROWS


def hashed_per_second() -> float:
    """The bytes per second of SHA-256, by the processor's time."""
    block = bytes(64 << 20)
    start = time.process_time()
    hashlib.sha256(block).digest()
    return len(block) / (time.process_time() - start)


def plan(sentences: int, known: dict[str, float]) -> dict[str, float]:
    """The cost of one pass over so many sentences."""
    shards = -(-sentences // ROWS_PER_SHARD)
    store = sentences * (2 * DIMENSION + known["bytes of text"])
    tokens = sentences * (4 * known["tokens per sentence"] + 8)
    return {
        "core hours to embed": sentences / known["embedded per core and second"] / 3600,
        "GPU hours to embed": sentences / known["embedded per GPU and second"] / 3600,
        "core hours to train, one epoch": sentences / known["trained per core and second"] / 3600,
        "store, bytes": store,
        "token ids, bytes": tokens,
        "files": shards + 1,
        "requests to S3": shards * known["requests per shard"],
        "hours over the network": store / ASSUMED["network, bytes per second"] / 3600,
        "core hours to check all files once": (store + tokens) / known["hashed per second"] / 3600,
        "memory of each training process, bytes": sentences * known["bytes of training"],
        "seconds to open the store": shards / 100_000 * known["seconds to open 100,000 shards"],
    }


def binds_first(costs: dict[str, float]) -> str:
    """The step that takes longest, if each has the machines that suit it: a core or a GPU, and the network."""
    hours = {
        "embedding": costs["GPU hours to embed"],
        "training": costs["core hours to train, one epoch"],
        "the network": costs["hours over the network"],
        "checking the files": costs["core hours to check all files once"],
    }
    return max(hours, key=lambda step: hours[step])


def formatted(name: str, value: float) -> str:
    """A cost for the table, with two or three digits."""
    if name.endswith("bytes"):
        return f"{value / TB:.3g} TB" if value >= TB else f"{value / GB:.3g} GB"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def main() -> None:
    """Compute the costs and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    known = rates()
    known |= {"bytes of text": text_bytes(), "bytes of training": training_bytes()}
    known |= {"hashed per second": hashed_per_second()}
    known["seconds to open 100,000 shards"] = read_json(RESULTS / "many_shards.json")["phases"]["open"]["seconds"]
    plans: dict[str, dict[str, Any]] = {f"{size:,}": plan(size, known) for size in SIZES}
    rows = [[name, *(formatted(name, costs[name]) for costs in plans.values())] for name in plan(SIZES[0], known)]
    rows.append(["longest step, on one GPU and one core", *(binds_first(costs) for costs in plans.values())])
    head = ["one pass over", *(f"{size} sentences" for size in plans)]
    write_record("cost", {"machine": machine(), "known": known, "assumed": ASSUMED, "plans": plans}, head, rows)


if __name__ == "__main__":
    main()
