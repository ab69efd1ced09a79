"""The report on models measured on the same tasks: retention, agreement, a map, and quality against speed."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import local_sets, read_set
from asterisk.evaluation.agreement import agreement
from asterisk.evaluation.embedding_map import EmbeddingMap, embedding_map
from asterisk.evaluation.local_tasks import EvaluationTask, sentence_pairs
from asterisk.evaluation.mteb_runner import ModelScores
from asterisk.evaluation.plots import ComparedModel
from asterisk.evaluation.report import write_report
from asterisk.evaluation.retention import TaskResult, retention
from asterisk.evaluation.speed import BATCH_SIZES, ComparisonRow, compare
from asterisk.evaluation.sts import spearman, sts_cosines
from asterisk.models.encoder import Encoder

# What is asked of agreement and speed is steady from here on; a teacher embeds so many in seconds.
MAX_TEXTS = 2_000
# A labelled set for the map: of many classes, short texts, in every data folder that follows MTEB.
MAP_SET = "Banking77"


def write_comparison_report(
    folder: Path,
    encoders: Sequence[Encoder],
    models: Sequence[ModelScores],
    tasks: Sequence[EvaluationTask],
    groups: dict[str, list[str]],
    texts: Sequence[str],
    data_dir: Path | None = None,
    batch_size: int = 64,
) -> list[ComparisonRow]:
    """Writes the report of the first model beside the second, its teacher; returns all models' sizes and speeds.

    Args:
        folder: Where the report goes.
        encoders: At least two.
        models: Their scores on the tasks, in the same order.
        tasks: What was measured.
        groups: Group to its tasks.
        texts: What the models are compared on, and timed with: text that none was trained on. A sample is taken.
        data_dir: The data of local tasks, for the intervals of STS scores and for the map's classes.
        batch_size: Texts per forward pass, at most.

    Raises:
        UserError: There are too few texts, or the folder holds something else than a report.
    """
    chosen = np.random.default_rng(0).permutation(len(texts))[:MAX_TEXTS]
    sample = list(dict.fromkeys(texts[row] for row in np.sort(chosen)))
    if len(sample) < max(BATCH_SIZES):
        raise UserError(f"A report needs {max(BATCH_SIZES)} different texts, but there are {len(sample)}; give more.")
    student, teacher = encoders[0], encoders[1]
    own, other = (encoder.encode(sample, batch_size=batch_size) for encoder in (student, teacher))
    students, teachers = (
        {task.name: _task_result(task, scores, encoder, data_dir, batch_size) for task in tasks}
        for encoder, scores in ((student, models[0]), (teacher, models[1]))
    )
    rows = compare(encoders, sample)
    write_report(
        folder,
        models[0].model,
        models[1].model,
        agreement(own, other, sample, _words(sample)),
        retention(students, teachers, groups),
        _map(student, teacher, data_dir, batch_size) or embedding_map(own, other, sample),
        [
            ComparedModel(each.model, float(np.mean(list(each.scores.values()))), row.sentences_per_second, row.bytes)
            for each, row in zip(models, rows, strict=True)
        ],
    )
    return rows


def _task_result(
    task: EvaluationTask, scores: ModelScores, encoder: Encoder, data_dir: Path | None, batch_size: int
) -> TaskResult:
    """A task's score with what it was computed from, as far as that can be had again."""
    score = scores.tasks[task.name]
    pairs = sentence_pairs(task, data_dir) if data_dir is not None else None
    if pairs is None:
        return TaskResult(score.score, experiments=score.experiments or None)
    cosines = sts_cosines(lambda texts: encoder.encode(texts, batch_size=batch_size), pairs)
    return TaskResult(spearman(cosines, pairs.scores), cosines, np.array(pairs.scores))


def _map(student: Encoder, teacher: Encoder, data_dir: Path | None, batch_size: int) -> EmbeddingMap | None:
    """Of a labelled set's test texts, if there is one."""
    folder = data_dir / "classification" if data_dir is not None else None
    if folder is None or not any(folder.glob(f"{MAP_SET}.test.parquet")):
        return None
    data = read_set(local_sets(folder)[MAP_SET], max_test_texts=MAX_TEXTS)
    own, other = (encoder.encode(data.test_texts, batch_size=batch_size) for encoder in (student, teacher))
    return embedding_map(own, other, data.test_texts, data.test_labels)


def _words(texts: Sequence[str]) -> list[list[int]]:
    """Each text's words as numbers: lengths and rarities that favour no model's tokenizer."""
    numbers: dict[str, int] = {}
    return [
        [numbers.setdefault(word, len(numbers)) for word in re.findall(r"\w+|[^\w\s]", text.lower())] for text in texts
    ]
