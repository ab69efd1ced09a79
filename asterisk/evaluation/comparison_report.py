"""The report of evaluate_mteb.py: a model compared with a baseline on the same tasks, and the speed of all models."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import local_sets, read_set
from asterisk.evaluation.agreement import compare_vectors
from asterisk.evaluation.embedding_map import EmbeddingMap, embedding_map
from asterisk.evaluation.local_data import sentence_pairs
from asterisk.evaluation.metrics.functions import spearman
from asterisk.evaluation.mteb_runner import ModelScores
from asterisk.evaluation.plots import ComparedModel
from asterisk.evaluation.report import Report
from asterisk.evaluation.retention import BenchmarkResult, measure_retention
from asterisk.evaluation.speed import BATCH_SIZES, measure_speed
from asterisk.evaluation.sts import sts_cosines
from asterisk.evaluation.tasks import EvaluationTask
from asterisk.models.encoder import TextEncoder
from asterisk.reporting.names import display_names

# Enough for stable agreement and speed; a teacher embeds this many in seconds.
MAX_TEXTS = 2_000
# The labelled set for the map: it has many classes and short texts.
MAP_SET = "Banking77"


def write_comparison_report(
    folder: Path,
    encoders: Sequence[TextEncoder],
    models: Sequence[ModelScores],
    tasks: Sequence[EvaluationTask],
    groups: dict[str, list[str]],
    texts: Sequence[str],
    data_dir: Path | None = None,
    batch_size: int = 64,
) -> None:
    """Write the report on the first model as the student and the second as its teacher.

    Args:
        folder: The folder of the report.
        encoders: At least two.
        models: The encoders' scores on the tasks, in the same order.
        tasks: The tasks that were measured.
        groups: Group → its tasks.
        texts: Texts that no model was trained on, for agreement and speed; a sample is used.
        data_dir: The data of local tasks, for the map's classes.
        batch_size: Maximum number of texts in a forward pass.

    Raises:
        UserError: There are too few texts, or the folder holds something other than a report.
    """
    sampled = np.random.default_rng(0).permutation(len(texts))[:MAX_TEXTS]
    sample = list(dict.fromkeys(texts[row] for row in np.sort(sampled)))
    if len(sample) < max(BATCH_SIZES):
        raise UserError(f"A report needs {max(BATCH_SIZES)} different texts, but there are {len(sample)}; give more.")
    student_vectors, teacher_vectors = (encoder.encode(sample, batch_size) for encoder in encoders[:2])
    student_results, teacher_results = (
        {task.name: _result(task, scores, encoder, batch_size) for task in tasks}
        for encoder, scores in zip(encoders[:2], models[:2], strict=True)
    )
    # Lengths and rarities are those of words, which favours neither model's tokenizer.
    words = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in sample]
    names = display_names([scores.model for scores in models])
    Report(
        names[0],
        names[1],
        compare_vectors(student_vectors, teacher_vectors, sample, words),
        measure_retention(student_results, teacher_results, groups),
        _labelled_map(encoders[:2], data_dir, batch_size) or embedding_map(student_vectors, teacher_vectors, sample),
        [
            ComparedModel(
                name,
                float(np.mean(list(scores.scores.values()))),
                measure_speed(encoder, sample).sentences_per_second,
                encoder.num_bytes,
            )
            for name, scores, encoder in zip(names, models, encoders, strict=True)
        ],
    ).write(folder)


def _result(task: EvaluationTask, scores: ModelScores, encoder: TextEncoder, batch_size: int) -> BenchmarkResult:
    """Return a task's score and the values behind it; for STS, the cosines are recomputed."""
    score = scores.tasks[task.name]
    pairs = sentence_pairs(task.local, task.folder) if task.local else None
    if pairs is None:
        return BenchmarkResult(score.score, experiments=score.experiments or None)
    cosines = sts_cosines(lambda texts: encoder.encode(texts, batch_size=batch_size), pairs)
    return BenchmarkResult(spearman(cosines, pairs.scores), cosines, np.array(pairs.scores))


def _labelled_map(encoders: Sequence[TextEncoder], data_dir: Path | None, batch_size: int) -> EmbeddingMap | None:
    """Map the test texts of a labelled set, if the data folder has it."""
    folder = data_dir / "classification" if data_dir is not None else None
    if folder is None or not (folder / f"{MAP_SET}.test.parquet").exists():
        return None
    data = read_set(local_sets(folder)[MAP_SET], max_test_texts=MAX_TEXTS)
    student_vectors, teacher_vectors = (encoder.encode(data.test_texts, batch_size) for encoder in encoders)
    return embedding_map(student_vectors, teacher_vectors, data.test_texts, data.test_labels)
