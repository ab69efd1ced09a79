"""Measure models on development parts of the benchmarks: the figures that settings are chosen by.

    python -m benchmarks.development --data_dir ../shared/data/eval --models "first release=runs/release/model" \
        "start 0.3=runs/release_2/model"

NAME=FOLDER@K measures the exit at depth K. The results go to results/development.json and .md: Spearman correlation on
STS-B dev and SICK dev; accuracy of a logistic regression on 16 texts of each label, the mean of ten draws, tested on
other texts of the training parts; v-measure of a clustering of newsgroups' subjects; nDCG@10 of the two retrieval
development sets. All are times 100. No test split is read.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score

from asterisk.core.files import read_json
from asterisk.evaluation.sts import read_sentence_pairs, sts_spearman
from benchmarks.long_documents import ndcg, read_set
from benchmarks.records import RESULTS, machine, write_record
from modeling_asterisk import AsteriskModel

STS = {"STS-B dev": "STSBenchmark.dev", "SICK dev": "SICK-R.dev"}
# The file of each set and the number of its texts that are used.
CLASSIFICATION = {
    "Imdb": ("Imdb.train", 2_000),
    "TweetSentiment": ("TweetSentimentExtraction.train", 3_000),
    "Emotion": ("Emotion.dev", 2_000),
    "Banking77": ("Banking77.train", 10_003),
    "AmazonCounterfactual": ("AmazonCounterfactual.train", 4_018),
}
LABELLED, DRAWS = 16, 10
NEWSGROUPS, CLUSTERINGS = 3_000, 5
RETRIEVAL = {"arXiv": "arxiv_title_to_abstract", "MedQuAD": "medquad"}


def few_shot(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean accuracy × 100 of regressions on LABELLED texts of each label."""
    scores = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(labels))
        train = np.concatenate([order[labels[order] == label][:LABELLED] for label in np.unique(labels)])
        test = np.setdiff1d(order, train)
        classifier = LogisticRegression(max_iter=100).fit(vectors[train], labels[train])
        scores.append(classifier.score(vectors[test], labels[test]))
    return 100 * float(np.mean(scores))


def clustering(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Mean v-measure × 100 of k-means."""
    count = len(np.unique(labels))
    scores = [
        v_measure_score(
            labels, MiniBatchKMeans(count, n_init=1, batch_size=500, random_state=seed).fit_predict(vectors)
        )
        for seed in range(CLUSTERINGS)
    ]
    return 100 * float(np.mean(scores))


def measure(model: AsteriskModel, data: Path) -> dict[str, float]:
    """All figures of one model."""
    figures = {}
    for name, file in STS.items():
        figures[name] = sts_spearman(model.encode, read_sentence_pairs(str(data / "sts" / f"{file}.parquet"), name))
    for name, (file, count) in CLASSIFICATION.items():
        rows = pd.read_parquet(data / "classification" / f"{file}.parquet").sample(count, random_state=1)
        figures[name] = few_shot(model.encode(list(rows["text"])), rows["label"].to_numpy(dtype=str))
    rows = pd.read_parquet(data / "clustering" / "TwentyNewsgroups.train.parquet").sample(NEWSGROUPS, random_state=1)
    figures["newsgroups"] = clustering(model.encode(list(rows["subject"])), rows["label"].to_numpy(dtype=str))
    for name, folder in RETRIEVAL.items():
        documents, queries, relevant = read_set(data / "retrieval_dev" / folder, 1, 10_000, 1_000)
        figures[name] = ndcg(model.encode(queries), model.encode(documents), np.arange(len(documents)), relevant)
    return figures


def main() -> None:
    """Measure the models; those of earlier runs stay in the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of the benchmark files")
    parser.add_argument("--models", nargs="+", required=True, help="NAME=FOLDER or NAME=FOLDER@DEPTH")
    options = parser.parse_args()
    rows = (read_json(RESULTS / "development.json", required=False) or {}).get("rows", {})
    for each in options.models:
        name, _, place = each.partition("=")
        folder, _, depth = place.partition("@")
        model = AsteriskModel.from_pretrained(folder).eval()
        rows[name] = measure(model.truncated(int(depth)) if depth else model, options.data_dir)
        print(name, {key: round(value, 2) for key, value in rows[name].items()}, flush=True)
    head = ["model", *next(iter(rows.values()))]
    lines = [[name, *(f"{value:.2f}" for value in figures.values())] for name, figures in rows.items()]
    write_record("development", {"machine": machine(), "rows": rows}, head, lines)


if __name__ == "__main__":
    main()
