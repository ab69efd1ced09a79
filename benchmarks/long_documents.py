"""Compare ways to embed documents that are longer than the model reads, by retrieval.

    python -m benchmarks.long_documents --model release/asterisk --data_dir ../shared/data/eval/retrieval_dev

Documents are answers of MedQuAD, and groups of ten answers or ten arXiv abstracts; a query must find the document that
holds its answer or abstract. Ways: the text as far as the model reads it; the mean of all token vectors; and the best
of the document's parts of about 40 words, embedded alone or by late chunking. The results go to
results/long_documents.json and .md: nDCG@10 × 100.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from asterisk.models.chunks import encode_chunks
from benchmarks.records import machine, write_record
from modeling_asterisk import AsteriskModel

# Set, texts in a document, texts and queries.
SETS = (("medquad", 1, 500, 200), ("medquad", 10, 500, 200), ("arxiv_title_to_abstract", 10, 500, 200))
WORDS = 40


def read_set(folder: Path, group: int, count: int, queries: int) -> tuple[list[str], list[str], np.ndarray]:
    """Return documents of `group` texts, queries, and the index of each query's document."""
    corpus, asked, judged = (pd.read_parquet(folder / f"{name}.parquet") for name in ("corpus", "queries", "qrels"))
    texts = corpus[:count].sample(frac=1, random_state=0)
    place = {name: index // group for index, name in enumerate(texts["_id"])}
    documents = [" ".join(texts["text"][start : start + group]) for start in range(0, len(texts), group)]
    answers = dict(zip(judged["query-id"], judged["corpus-id"], strict=True))
    kept = asked[:queries]
    return documents, list(kept["text"]), np.array([place[answers[name]] for name in kept["_id"]])


def parts(document: str) -> list[tuple[int, int]]:
    """Spans of about WORDS words each."""
    starts = [index for index, char in enumerate(document) if not index or document[index - 1].isspace()][::WORDS]
    return list(zip(starts, [*starts[1:], len(document)], strict=True))


def ndcg(queries: np.ndarray, vectors: np.ndarray, owners: np.ndarray, relevant: np.ndarray) -> float:
    """nDCG@10 × 100 with one relevant document; a document scores as the best of its vectors.

    Args:
        queries: (queries, dimensions), unit-norm.
        vectors: (vectors, dimensions), unit-norm, sorted by document.
        owners: The document of each vector.
        relevant: The document of each query.
    """
    scores = np.maximum.reduceat(queries @ vectors.T, np.searchsorted(owners, np.arange(owners[-1] + 1)), axis=1)
    ranks = (scores > scores[np.arange(len(queries)), relevant][:, None]).sum(axis=1)
    return float(100 * np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())


def measure(model: AsteriskModel, documents: list[str], queries: list[str], relevant: np.ndarray) -> dict[str, float]:
    """nDCG@10 of each way."""
    spans = [parts(document) for document in documents]
    whole, owners = np.arange(len(documents)), np.repeat(np.arange(len(documents)), [len(each) for each in spans])
    # The last chunk is the whole document.
    chunks = [encode_chunks(model, each, [*own, (0, len(each))]) for each, own in zip(documents, spans, strict=True)]
    mean = np.stack([each[-1] for each in chunks])
    late = np.concatenate([each[:-1] for each in chunks])
    alone = model.encode([each[start:end] for each, own in zip(documents, spans, strict=True) for start, end in own])
    asked = model.encode(queries)
    return {
        "first tokens": ndcg(asked, model.encode(documents), whole, relevant),
        "mean of all tokens": ndcg(asked, mean, whole, relevant),
        "best part, late chunking": ndcg(asked, late, owners, relevant),
        "best part alone": ndcg(asked, alone, owners, relevant),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="an Asterisk")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the retrieval sets")
    options = parser.parse_args()
    model = AsteriskModel.from_pretrained(options.model)
    results = []
    for name, group, count, limit in SETS:
        documents, queries, relevant = read_set(options.data_dir / name, group, count, limit)
        results.append(
            {
                "set": name if group == 1 else f"{name}, {group} in a document",
                "documents": len(documents),
                "words": round(sum(len(each.split()) for each in documents) / len(documents)),
                "ndcg_at_10": measure(model, documents, queries, relevant),
            }
        )
        print(results[-1], flush=True)
    ways = list(results[0]["ndcg_at_10"])
    rows = [
        [
            each["set"],
            f"{each['documents']:,}",
            f"{each['words']:,}",
            *(f"{each['ndcg_at_10'][way]:.1f}" for way in ways),
        ]
        for each in results
    ]
    result = {"machine": machine(), "model": str(options.model), "results": results}
    write_record("long_documents", result, ["set", "documents", "words each", *ways], rows)


if __name__ == "__main__":
    main()
