"""Measure a published model with exits at every depth and at 256, 128 and 64 dimensions, beside its peers.

    python -m benchmarks.dial --folder release/asterisk --data_dir ../shared/data/eval --runs_dir runs/dial
    python publish.py runs/release_2/model --output_dir release/asterisk --dial benchmarks/results/dial.json

Scores and speeds are those of the folder's ONNX files in int8. Finished tasks in --runs_dir are not repeated, so a
stopped run continues. Speeds are sentences per second from strings to an array, in turns, on the mixes of
benchmarks/inference.py; the teacher runs in PyTorch, and the static model is the exit at depth 0 in model2vec. The
peers' scores are those of results/release.json. The results go to results/dial.json, .md and .png.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterisk.core.files import read_json, write_json
from asterisk.evaluation.mteb_runner import ModelScores, run_tasks
from asterisk.evaluation.tasks import find_tasks, group_members
from asterisk.models.encoder import LoadedModel, TextEncoder
from asterisk.models.load import load_encoder
from asterisk.models.onnx import onnx_file
from asterisk.models.onnx_encoder import onnx_encoder
from asterisk.models.static import static_encoder, static_model
from asterisk.publishing.dial import dial_rows, plot_dial
from benchmarks.inference import TEACHER, onnx_path, read_mixes, speed
from benchmarks.records import RESULTS, known_name, machine, write_record
from benchmarks.release import FAITHFUL, classification
from modeling_asterisk import AsteriskModel

DIMENSIONS = (256, 128, 64)
RETRIEVAL = "SciFact"
TASKS = ("sts7", *FAITHFUL, RETRIEVAL)
# The form of the whole model; exits have one form.
WHOLE = "model_int8"
BATCH_SIZE = 64


def remembering(model: LoadedModel) -> LoadedModel:
    """Return the model with a cache of its vectors, so that each text is embedded once for all dimensions."""
    known: dict[str, np.ndarray] = {}

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, model.embed(new, prompt, batch_size), strict=True))
        return np.array([known[text] for text in texts])

    return replace(model, embed=embed)


def measure(
    files: dict[int, Path], tasks: str, data: Path, runs: Path, sizes: Sequence[int] = DIMENSIONS
) -> list[dict[str, Any]]:
    """Scores and sizes of each setting, the deepest and widest first; runs/settings.json grows with them."""
    found, groups = find_tasks(tasks, str(data)), group_members(local=True)
    settings: list[dict[str, Any]] = []
    for depth, file in files.items():
        model = remembering(onnx_encoder(file))
        for dimensions in sizes:
            encoder = TextEncoder(str(file), model, dimensions)
            scores = ModelScores.of(str(file), encoder)
            scores.tasks.update(run_tasks(encoder, found, runs, BATCH_SIZE))
            settings.append(
                {
                    "layers": depth,
                    "dimensions": dimensions,
                    "sts7": scores.means(groups).get("sts7"),
                    "classification": classification({"scores": scores.scores}),
                    "retrieval": scores.scores.get(RETRIEVAL),
                    "megabytes": model.num_bytes / 1e6,
                    "bytes_per_vector": 4 * dimensions,
                    "scores": scores.scores,
                }
            )
            write_json(runs / "settings.json", settings)
            print({name: value for name, value in settings[-1].items() if name != "scores"}, flush=True)
    return settings


def measure_speeds(
    paths: dict[Any, Callable[[list[str], int], Any]], mixes: dict[str, list[str]], repetitions: int
) -> dict[Any, float]:
    """Sentences per second of each path over all mixes: the harmonic mean of the medians, because times add up."""
    runs: dict[Any, dict[str, list[float]]] = {name: {mix: [] for mix in mixes} for name in paths}
    for encode in paths.values():
        encode(next(iter(mixes.values()))[:BATCH_SIZE], BATCH_SIZE)
    for _ in range(repetitions):
        for mix, texts in mixes.items():
            for name, encode in paths.items():
                runs[name][mix].append(speed(encode, texts, BATCH_SIZE))
    return {name: statistics.harmonic_mean(map(statistics.median, own.values())) for name, own in runs.items()}


def peers(speeds: dict[Any, float]) -> list[dict[str, Any]]:
    """The teacher and static models with their scores in the record of the release."""
    found = []
    for each in read_json(RESULTS / "release.json")["summary"]["baselines"]:
        kind = "teacher" if each["model"] == TEACHER else "static"
        scores = {"sts7": each["means"]["sts7"], "classification": classification(each)}
        scores["retrieval"] = each["scores"].get(RETRIEVAL)
        found.append({"name": known_name(each["model"]), **scores, "sentences_per_second": speeds[kind]})
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a published folder of a model with exits")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the benchmark files")
    parser.add_argument("--runs_dir", type=Path, required=True, help="folder of MTEB's own result files")
    parser.add_argument("--sentences", type=int, default=400, help="sentences of each mix, for the speeds")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each speed")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads, for the speeds")
    options = parser.parse_args()
    config = read_json(options.folder / "config.json")
    depths = [config["num_hidden_layers"], *sorted(config.get("exit_layers") or (), reverse=True)]
    files = {depth: onnx_file(options.folder, WHOLE, depth) for depth in depths}
    settings = measure(files, ",".join(TASKS), options.data_dir, options.runs_dir)
    torch.set_num_threads(options.threads)
    teacher = load_encoder(TEACHER)
    paths: dict[Any, Callable[[list[str], int], Any]] = {"teacher": teacher.encode}
    paths |= {depth: onnx_path(file, options.threads) for depth, file in files.items()}
    if 0 in paths:
        exit_model = AsteriskModel.from_pretrained(options.folder, num_hidden_layers=0)
        table = exit_model.embeddings.embed_tokens.weight.detach().float().numpy()
        static = TextEncoder("static", static_encoder(static_model(table, exit_model.tokenizer)))
        paths["static"] = static.encode
    print(f"Speeds of {', '.join(map(str, paths))} …", flush=True)
    speeds = measure_speeds(paths, read_mixes(options.data_dir, options.sentences), options.repetitions)
    record = {
        "machine": machine(),
        "classification_sets": [name for name in FAITHFUL if name in settings[0]["scores"]],
        "settings": [{**setting, "sentences_per_second": speeds[setting["layers"]]} for setting in settings],
        "peers": peers(speeds) if 0 in paths else [],
        "speeds": {str(name): value for name, value in speeds.items()},
    }
    plot_dial(record, RESULTS / "dial.png")
    head, *rows = dial_rows(record)
    write_record("dial", record, head, rows)


if __name__ == "__main__":
    main()
