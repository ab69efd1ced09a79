"""What a finished distillation reached: a table of scores, and the report on how far student and teacher agree."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterisk.core.files import atomic_file, write_json
from asterisk.distillation.loop import Distillation
from asterisk.evaluation.agreement import agreement
from asterisk.evaluation.embedding_map import embedding_map
from asterisk.evaluation.plots import ComparedModel
from asterisk.evaluation.report import write_report
from asterisk.evaluation.retention import Retention, TaskResult, retention
from asterisk.evaluation.sts import (
    Measurement,
    SentencePairs,
    markdown_table,
    measure,
    measure_static,
    measure_teacher,
)
from asterisk.models.checkpoints import load_student
from asterisk.models.resolve import resolve_model

# Fewer held-out texts show nothing in a map.
FEWEST_TEXTS = 100


def measure_models(
    student: Path, teacher: str, encoder: str, benchmarks: Sequence[SentencePairs]
) -> list[Measurement]:
    """The student last; before it its teacher and the teacher's untrained static model, or what it was trained from.

    Args:
        student: The folder of the trained student.
        teacher: What `--teacher` named; only a model can be measured on benchmarks, not an API or vectors.
        encoder: What `--encoder` named, for a student without a teacher.
        benchmarks: At least one.
    """
    pairs = list(benchmarks)
    model = load_student(student)
    own = measure("student", model.encode, list(model.parameters()), pairs)
    if not teacher:
        before = load_student(Path(resolve_model(encoder)))
        return [measure("before training", before.encode, list(before.parameters()), pairs), own]
    if teacher.partition(":")[0] in ("api", "vectors"):
        return [own]
    return [measure_teacher(teacher, pairs), measure_static(teacher, own.dimensions, pairs), own]


def write_measurements(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Writes results.json and results.md."""
    with atomic_file(folder / "results.md") as temporary:
        temporary.write_text(markdown_table(list(measurements)) + "\n", encoding="utf-8")
    write_json(folder / "results.json", [line.numbers() for line in measurements])


def write_agreement_report(
    folder: Path,
    student: Path,
    teacher: str,
    distillation: Distillation,
    measurements: Sequence[Measurement],
    benchmarks: Sequence[SentencePairs],
) -> None:
    """Writes the agreement report (JSON, Markdown and an HTML page) of a student and its teacher.

    Args:
        folder: Where the report goes.
        student: The folder of the trained student.
        teacher: What to call the teacher.
        distillation: The run, which knows the sentences that were held out, at least `FEWEST_TEXTS`, and the
            teacher's vectors of them.
        measurements: On the benchmarks, the teacher's first and the student's last, or none.
        benchmarks: The sentence pairs of the measurements.
    """
    store, projection, rows = distillation.store, distillation.projection, distillation.heldout_rows
    assert store is not None
    assert projection is not None
    texts = store.texts(rows)
    vectors, target = load_student(student).encode(texts), store.embeddings(rows).astype(np.float32)
    ids, mask = distillation.tokens.padded(rows)
    token_ids = [line[: int(length)].tolist() for line, length in zip(ids, mask.sum(axis=1), strict=True)]
    beside_teacher = len(measurements) > 1 and measurements[0].model.startswith("teacher")
    write_report(
        folder,
        str(student),
        teacher,
        agreement(vectors, target, texts, token_ids, projection.cpu().numpy()),
        _retentions(measurements[-1], measurements[0], benchmarks) if beside_teacher else (),
        embedding_map(vectors, target, texts),
        [
            ComparedModel(line.model, line.mean_score, line.sentences_per_second, line.bytes)
            for line in measurements
            if beside_teacher
        ],
    )


def _retentions(student: Measurement, teacher: Measurement, benchmarks: Sequence[SentencePairs]) -> list[Retention]:
    own, other = (
        {
            pairs.name: TaskResult(line.sts[pairs.name], line.cosines[pairs.name], np.array(pairs.scores))
            for pairs in benchmarks
        }
        for line in (student, teacher)
    )
    groups = {"mean": [pairs.name for pairs in benchmarks]} if len(benchmarks) > 1 else {}
    return retention(own, other, groups)
