"""Adapt a released model to two domains with recipes/adapt.yaml, and measure what it gains and costs.

    python -m benchmarks.adapt --data_dir ../shared/data --runs_dir runs/adapt

The domains are arXiv (titles and abstracts) and medical questions and answers (MedQuAD). Each training reads --texts
pairs, none of which is in the development set that measures the retrieval. Finished domains in --runs_dir are not
repeated. The results go to results/adapt.json and .md: minutes, the agreement with the teacher on held-out texts,
nDCG@10 of the development set, and STS-B's development split, each before and after.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from asterisk.core.files import read_json, write_json
from asterisk.distillation.curves import read_curves
from asterisk.evaluation.sts import read_sentence_pairs, sts_spearman
from benchmarks.long_documents import ndcg, read_set
from benchmarks.records import REPOSITORY, machine, write_record
from modeling_asterisk import AsteriskModel

# The pairs, their columns, and the set that measures the retrieval.
DOMAINS = {
    "arxiv": ("title", "abstract", "arxiv_title_to_abstract"),
    "medquad": ("question", "answer", "medquad"),
}
RECIPE = REPOSITORY / "recipes" / "adapt.yaml"
STS = "STS-B dev"
DOCUMENTS, QUERIES = 3_000, 300


def pairs_of(data: Path, name: str, count: int) -> pd.DataFrame:
    """`count` pairs, none of whose texts is in the development set."""
    first, second, measured = DOMAINS[name]
    table = pd.read_parquet(data / "pairs" / "open" / f"{name}.train.parquet")[[first, second]].drop_duplicates()
    folder = data / "eval" / "retrieval_dev" / measured
    seen = {text for file in ("corpus", "queries") for text in pd.read_parquet(folder / f"{file}.parquet")["text"]}
    return table[~(table[first].isin(seen) | table[second].isin(seen))].sample(count, random_state=0)


def retrieval(model: AsteriskModel, folder: Path) -> float:
    """nDCG@10 × 100 on a development set."""
    documents, queries, relevant = read_set(folder, 1, DOCUMENTS, QUERIES)
    return ndcg(model.encode(queries), model.encode(documents), np.arange(len(documents)), relevant)


def adapt(data: Path, name: str, folder: Path, options: list[str], count: int) -> dict[str, Any]:
    """Train on a domain and measure."""
    first, second, measured = DOMAINS[name]
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "pairs.parquet"
    pairs_of(data, name, count).to_parquet(table)
    arguments = ["--config", str(RECIPE), "--corpus", str(table), "--text_column", second, "--pairs", str(table)]
    arguments += ["--pair_columns", first, second, "--output_dir", str(folder / "run"), "--resume"]
    arguments += options
    start = time.perf_counter()
    subprocess.run([sys.executable, "train_distill.py", *arguments], cwd=REPOSITORY, check=True)
    minutes = (time.perf_counter() - start) / 60
    # The first point is measured after one step of the warm-up, at a learning rate near zero.
    before = read_curves(folder / "run" / "curves.jsonl")[0]["scores"]["agreement"]
    after = read_json(folder / "run" / "report" / "report.json")["agreement"]["cosines"]["mean"]
    encoder = REPOSITORY / yaml.safe_load(RECIPE.read_text())["encoder"]
    collection = data / "eval" / "retrieval_dev" / measured
    models = [AsteriskModel.from_pretrained(each).eval() for each in (encoder, folder / "run" / "model")]
    pairs = read_sentence_pairs(str(data / "eval" / "sts" / "STSBenchmark.dev.parquet"), STS)
    return {
        "minutes": minutes,
        "agreement": [100 * before, 100 * after],
        "ndcg_at_10": [retrieval(model, collection) for model in models],
        "sts": [sts_spearman(model.encode, pairs) for model in models],
    }


def main() -> None:
    """Adapt, measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with pairs/ and eval/")
    parser.add_argument("--runs_dir", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--texts", type=int, default=3_000, help="pairs of each domain")
    parser.add_argument("--domains", nargs="*", default=list(DOMAINS), choices=DOMAINS, help="the domains")
    options, more = parser.parse_known_args()
    results = {}
    for name in options.domains:
        file = options.runs_dir / name / "result.json"
        if not file.exists():
            write_json(file, adapt(options.data_dir.resolve(), name, file.parent.resolve(), more, options.texts))
        results[name] = read_json(file)
        print(name, results[name], flush=True)
    head = ["domain", "minutes", "agreement × 100", "nDCG@10", STS]
    rows = [
        [
            name,
            f"{result['minutes']:.1f}",
            *(f"{result[key][0]:.2f} → {result[key][1]:.2f}" for key in ("agreement", "ndcg_at_10", "sts")),
        ]
        for name, result in results.items()
    ]
    write_record("adapt", {"machine": machine(), "pairs": options.texts, "results": results}, head, rows)


if __name__ == "__main__":
    main()
