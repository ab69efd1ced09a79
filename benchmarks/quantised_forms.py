"""Measure what the quantised forms of a model lose on development sets.

    python -m benchmarks.quantised_forms --models release/asterisk HUB/onnx/model_int8.onnx \\
        HUB/openvino/openvino_model_qint8_quantized.xml --data_dir ../shared/data/eval --runs_dir runs/forms

The first model is the reference. STS and classification are MTEB's tasks on development parts, retrieval is that of
benchmarks.vector_types. The cosines are those of the retrieval queries. The results go to results/quantised_forms.json
and .md.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.evaluation.mteb_runner import run_tasks
from asterisk.evaluation.tasks import find_tasks
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from benchmarks.records import machine, write_record
from benchmarks.vector_types import SETS, ndcg, read_set

TASKS = {
    "STS": ("STSBenchmark:dev", "SICK-R:dev"),
    "classification": (
        *("AmazonCounterfactualClassification:dev", "EmotionClassification:dev", "Clinc150:dev", "HWU64:dev"),
        *("SNIPS:dev", "TweetEval-offensive:dev"),
    ),
}
# The largest loss of each mean.
LARGEST_LOSS = 0.3


def measure(encoder: TextEncoder, data: Path, runs: Path) -> tuple[dict[str, float], np.ndarray]:
    """Return the mean score × 100 of each kind of task, and the vectors of the queries."""
    means, vectors = {}, []
    for kind, names in TASKS.items():
        tasks = find_tasks(",".join(names), str(data))
        means[kind] = statistics.mean(result.score for _, result in run_tasks(encoder, tasks, runs))
    scores = []
    for name in SETS:
        queries, documents, right = read_set(data / "retrieval_dev" / name)
        vectors.append(encoder.encode(queries))
        scores.append(ndcg(vectors[-1] @ encoder.encode(documents).T, right))
    means["retrieval"] = statistics.mean(scores)
    return means, np.concatenate(vectors)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, help="models of evaluate_mteb.py, the reference first")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the benchmark files")
    parser.add_argument("--runs_dir", type=Path, required=True, help="folder of MTEB's own result files")
    options = parser.parse_args()
    record: dict[str, dict[str, Any]] = {}
    rows, exact = [], np.empty(0)
    for spec in options.models:
        encoder = load_encoder(spec)
        means, vectors = measure(encoder, options.data_dir, options.runs_dir)
        exact = exact if record else vectors
        cosines = (vectors * exact).sum(axis=1)
        record[spec] = {**means, "lowest_cosine": float(cosines.min()), "mean_cosine": float(cosines.mean())}
        losses = [record[options.models[0]][kind] - value for kind, value in means.items()]
        rows.append(
            [
                "/".join(Path(spec).parts[-2:]),
                f"{encoder.num_bytes / 1e6:.1f}",
                *(f"{value:.2f}" for value in means.values()),
                f"{max(losses):.2f}",
                "yes" if max(losses) <= LARGEST_LOSS else "no",
                f"{cosines.min():.4f}",
                f"{cosines.mean():.4f}",
            ]
        )
    head = ["form", "MB", *TASKS, "retrieval", "largest loss", f"at most {LARGEST_LOSS}"]
    write_record(
        "quantised_forms", {"machine": machine(), "forms": record}, [*head, "lowest cosine", "mean cosine"], rows
    )


if __name__ == "__main__":
    main()
