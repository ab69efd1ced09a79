"""Measure retrieval with quantised embeddings: float32, int8 and binary at 256, 128 and 64 dimensions.

    python -m benchmarks.vector_types --model release/asterisk --data_dir ../shared/data/eval

The queries and documents are those of DATA_DIR/retrieval_dev, a development set with one right document per query. The
int8 ranges are those of the documents. Queries stay in float32 with int8 documents, and with binary ones in the row
"rescored", where the 40 documents of the least Hamming distance are sorted by the product of query and signs. The
results go to results/vector_types.json and .md.
"""

import argparse
from pathlib import Path

import numpy as np

from asterisk.core.vectors import quantize, unit, value_ranges
from asterisk.data.readers import read_columns
from asterisk.models.load import load_encoder
from benchmarks.records import machine, write_record

SETS = ("arxiv_title_to_abstract", "medquad")
DIMENSIONS = (256, 128, 64)
# Bits of one dimension.
TYPES = {"float32": 32, "int8": 8, "binary": 1, "binary, rescored": 1}
RESCORED, BEST = 40, 10


def read_set(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return the queries, the documents, and the row of each query's right document."""
    columns = {"corpus": ["_id", "text"], "queries": ["_id", "text"], "qrels": ["query-id", "corpus-id"]}
    corpus, queries, judged = (read_columns(str(folder / f"{name}.parquet"), columns[name]) for name in columns)
    rows = {key: row for row, key in enumerate(corpus["_id"])}
    answer = dict(zip(judged["query-id"], judged["corpus-id"], strict=True))
    return queries["text"], corpus["text"], np.array([rows[answer[key]] for key in queries["_id"]])


def scores(queries: np.ndarray, documents: np.ndarray, kind: str) -> np.ndarray:
    """The similarity of each query to each document, (queries, documents), with documents of one of `TYPES`."""
    if kind == "float32":
        return queries @ documents.T
    if kind == "int8":
        ranges = value_ranges(documents)
        levels = quantize(documents, "uint8", ranges).astype(np.float32)
        return queries @ (ranges[0] + (levels + 0.5) * (ranges[1] - ranges[0]) / 255).T
    signs = [np.where(np.unpackbits(quantize(each, "ubinary"), axis=1), 1, -1) for each in (queries, documents)]
    bits, of_documents = (each.astype(np.float32) for each in signs)
    found = bits @ of_documents.T
    if kind == "binary":
        return found
    exact = queries @ of_documents.T
    candidates = np.argpartition(-found, RESCORED, axis=1)[:, :RESCORED]
    rescored = np.full_like(exact, -np.inf)
    np.put_along_axis(rescored, candidates, np.take_along_axis(exact, candidates, axis=1), axis=1)
    return rescored


def ndcg(found: np.ndarray, right: np.ndarray) -> float:
    """NDCG@10 × 100 with one right document per query; documents of equal score share their ranks."""
    own = np.take_along_axis(found, right[:, None], axis=1)
    ranks = 1 + (found > own).sum(axis=1) + ((found == own).sum(axis=1) - 1) / 2
    gains = np.where((ranks <= BEST) & np.isfinite(own[:, 0]), 1 / np.log2(1 + ranks), 0)
    return 100 * float(gains.mean())


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="any model of evaluate_mteb.py")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with retrieval_dev/")
    options = parser.parse_args()
    encoder = load_encoder(options.model)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in SETS:
        *texts, right = read_set(options.data_dir / "retrieval_dev" / name)
        of_queries, of_documents = map(encoder.encode, texts)
        found[name] = {
            kind: {
                str(size): ndcg(scores(unit(of_queries[:, :size]), unit(of_documents[:, :size]), kind), right)
                for size in DIMENSIONS
            }
            for kind in TYPES
        }
    exact = np.mean([found[name]["float32"]["256"] for name in SETS])
    table = []
    for kind, bits in TYPES.items():
        for size in DIMENSIONS:
            each = [found[name][kind][str(size)] for name in SETS]
            each.append(float(np.mean(each)))
            values = [f"{value:.2f}" for value in each]
            table.append([f"{kind}, {size}", f"{bits * size // 8:,}", *values, f"{each[-1] / exact:.1%}"])
    head = ["documents, dimensions", "bytes each", *SETS, "mean", "of float32, 256"]
    write_record("vector_types", {"machine": machine(), "model": encoder.name, "ndcg_at_10": found}, head, table)


if __name__ == "__main__":
    main()
