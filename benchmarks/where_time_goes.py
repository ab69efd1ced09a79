"""Break down the time of `encode` and of the ONNX path on one thread, and measure the gain of each optimisation.

    python -m benchmarks.where_time_goes --folder runs/hub/asterisk --data_dir ../shared/data/eval

FOLDER is a published folder. The texts are a quarter of those of inference.py. Tokenisation is timed separately; the
profilers of torch and onnxruntime attribute the rest to their operators. The ceiling is the speed of one thread that
only tokenises and multiplies matrices, at the rates measured here. The results go to results/where_time_goes.json
and .md; where_time_goes.md beside this program explains them.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnxruntime
import torch
from torch.profiler import ProfilerActivity, profile

from asterisk.models.load import load_encoder
from asterisk.models.onnx import OnnxEmbedder
from asterisk.models.precision import faster_dtype
from benchmarks.inference import TEACHER, read_mixes
from benchmarks.records import machine, write_record
from modeling_asterisk import AsteriskModel

TOKENISING, REST = "tokenising", "all else"
# Kinds of work and the parts of operator names (of torch or ONNX) that identify them; the first match counts.
KINDS = {
    "attention": ("attention", "softmax", "aten::bmm"),
    "matrix products": ("linear", "addmm", "aten::mm", "matmul", "gemm"),
    "norms": ("layer_norm", "layernorm", "normalize"),
    "GELU": ("gelu",),
    "token table": ("embedding", "gather"),
}
BATCH_SIZE = 128
# Options of a session, as in OnnxEmbedder.
SESSION: dict[str, Any] = {"providers": ["CPUExecutionProvider"], "disabled_optimizers": ["SkipLayerNormFusion"]}


def kind_of(operator: str) -> str:
    """The kind of work of an operator."""
    name = operator.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), REST)


def shares(seconds: dict[str, float], total: float) -> dict[str, float]:
    """The share of each kind in `total` seconds; the rest includes time that no profiler sees, mostly Python."""
    known = {kind: seconds.get(kind, 0.0) / total for kind in (TOKENISING, *KINDS)}
    return {**known, REST: 1 - sum(known.values())}


def seconds_of(work: Callable[[], Any], repetitions: int) -> float:
    """The median seconds of several runs, after one for warm-up."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def profile_torch(model: AsteriskModel, texts: list[str], repetitions: int) -> dict[str, Any]:
    """The breakdown of `encode`."""
    tokenizer = model.tokenizer
    total = seconds_of(lambda: model.encode(texts, BATCH_SIZE), repetitions)
    seconds = {TOKENISING: seconds_of(lambda: model._tokenize(texts, tokenizer), repetitions)}
    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        model.encode(texts, BATCH_SIZE)
        profiled = time.perf_counter() - start
    for event in found.key_averages():
        kind = kind_of(event.key)
        # Remove the profiler's own time in proportion.
        seconds[kind] = seconds.get(kind, 0.0) + event.self_cpu_time_total / 1e6 * total / profiled
    return result(seconds, total, len(texts))


def profile_onnx(file: Path, texts: list[str], repetitions: int) -> dict[str, Any]:
    """The breakdown of the ONNX path."""
    embedder = OnnxEmbedder(file, threads=1)
    total = seconds_of(lambda: embedder.embed(embedder.token_ids(texts)), repetitions)
    seconds = {TOKENISING: seconds_of(lambda: embedder.token_ids(texts), repetitions)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "onnx")
        session = onnxruntime.InferenceSession(str(file), options, **SESSION)
        embedder._session = session
        start = time.perf_counter()
        embedder.embed(embedder.token_ids(texts))
        profiled = time.perf_counter() - start
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind = kind_of(event["args"]["op_name"])
            seconds[kind] = seconds.get(kind, 0.0) + event["dur"] / 1e6 * total / profiled
    return result(seconds, total, len(texts))


def result(seconds: dict[str, float], total: float, number: int) -> dict[str, Any]:
    """Speed, shares and the ceiling."""
    least = seconds[TOKENISING] + seconds["matrix products"]
    return {"sentences_per_second": number / total, "shares": shares(seconds, total), "ceiling": number / least}


def in_order(model: AsteriskModel, lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    """Forward passes of texts batched in the given order, in the format of `AsteriskModel._passes`."""
    for start in range(0, len(lengths), batch_size):
        yield sorted(range(start, min(start + batch_size, len(lengths))), key=lengths.__getitem__, reverse=True)


def of_many_tokens(model: AsteriskModel, lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    """Forward passes of texts sorted by length, with the same number of texts in each."""
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    for start in range(0, len(by_length), batch_size):
        yield by_length[start : start + batch_size]


def changes(model: AsteriskModel, file: Path, texts: list[str], repetitions: int) -> dict[str, float]:
    """The speed-up of each optimisation, on all threads."""
    threads = os.cpu_count() or 1
    embedder = OnnxEmbedder(file, threads)
    ids = embedder.token_ids(texts)
    torch.set_num_threads(threads)
    found = {}

    def gain(name: str, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        found[name] = seconds_of(before, repetitions) / seconds_of(after, repetitions)

    def encode() -> Any:
        return model.encode(texts, BATCH_SIZE)

    def encode_with(kind: type, name: str, replacement: Callable) -> Callable[[], Any]:
        return patch.object(kind, name, replacement)(encode)

    def of_transformers() -> Any:
        return model.tokenizer(texts, return_attention_mask=False, return_token_type_ids=False)

    many_tokens = encode_with(AsteriskModel, "_passes", of_many_tokens)
    unsorted = encode_with(AsteriskModel, "_passes", in_order)
    gain("texts sorted by length before they are batched", unsorted, many_tokens)
    gain(f"passes of 2,048 tokens at most, not of {BATCH_SIZE} texts", many_tokens, encode)
    tokenizer = model.tokenizer
    gain(
        "tokenising by the Rust code, not transformers' call",
        of_transformers,
        lambda: model._tokenize(texts, tokenizer),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    shared_out = OnnxEmbedder(file, threads=1)
    shared_out._session = onnxruntime.InferenceSession(str(file), options, **SESSION)
    gain("ONNX passes side by side, not each shared out", lambda: shared_out.embed(ids), lambda: embedder.embed(ids))
    gain("ONNX passes of 2,048 tokens, not 16,384", lambda: embedder.embed(ids, 16_384), lambda: embedder.embed(ids))
    alone = onnxruntime.SessionOptions()
    alone.intra_op_num_threads = 1
    fused = OnnxEmbedder(file, threads)
    fused._session = onnxruntime.InferenceSession(str(file), alone, providers=SESSION["providers"])
    gain("ONNX sums and norms apart, not fused", lambda: fused.embed(ids), lambda: embedder.embed(ids))
    exact = OnnxEmbedder(file.with_name("model.onnx"), threads)
    gain("int8, not float32, in ONNX", lambda: exact.embed(ids), lambda: embedder.embed(ids))
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a published folder")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with classification/ and sts/")
    parser.add_argument("--sentences", type=int, default=1_250, help="sentences of each mix")
    parser.add_argument("--repetitions", type=int, default=5, help="runs; the median counts")
    options = parser.parse_args()
    texts = [text for mix in read_mixes(options.data_dir, options.sentences).values() for text in mix]
    # The Rust tokenizer reads this variable at its first batch.
    os.environ["RAYON_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    quantized = options.folder / "onnx" / "model_quantized.onnx"
    model = AsteriskModel.from_pretrained(options.folder)
    paths = {"encode, float32": profile_torch(model, texts, options.repetitions)}
    if faster_dtype("cpu") is torch.bfloat16:
        half = AsteriskModel.from_pretrained(options.folder, dtype=torch.bfloat16)
        paths["encode, bfloat16"] = profile_torch(half, texts, options.repetitions)
    for name, file in (("ONNX", quantized.with_name("model.onnx")), ("ONNX, int8", quantized)):
        paths[name] = profile_onnx(file, texts, options.repetitions)
    static = load_encoder(f"static:{TEACHER}")
    embedder = OnnxEmbedder(quantized, threads=1)
    bounds = {
        "the tokenizer alone": seconds_of(lambda: embedder.token_ids(texts), options.repetitions),
        "static model (model2vec)": seconds_of(lambda: static.encode(texts, batch_size=1024), options.repetitions),
    }
    speeds = {name: len(texts) / seconds for name, seconds in bounds.items()}
    speedups = changes(model, quantized, texts, options.repetitions)
    kinds = (TOKENISING, *KINDS, REST)
    rows = [
        [
            name,
            f"{own['sentences_per_second']:,.0f}",
            *(f"{own['shares'][kind]:.0%}" for kind in kinds),
            f"{own['ceiling']:,.0f}",
        ]
        for name, own in paths.items()
    ]
    rows += [[name, f"{speed:,.0f}", *[""] * (len(kinds) + 1)] for name, speed in speeds.items()]
    rows += [[f"{name}: {ratio:.2f} times as fast", *[""] * (len(kinds) + 2)] for name, ratio in speedups.items()]
    record = {"machine": machine(), "paths": paths, "bounds": speeds, "changes": speedups, "texts": len(texts)}
    write_record("where_time_goes", record, ["one thread", "sentences/s", *kinds, "ceiling"], rows)


if __name__ == "__main__":
    main()
