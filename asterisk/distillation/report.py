"""What a finished distillation reached: a table of scores, and the report on how far student and teacher agree."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterisk.core.files import atomic_file, write_json
from asterisk.distillation.loop import Distillation
from asterisk.evaluation.agreement import measure_agreement
from asterisk.evaluation.embedding_map import embedding_map
from asterisk.evaluation.plots import ComparedModel
from asterisk.evaluation.report import write_report
from asterisk.evaluation.retention import BenchmarkResult, RetainedScore, measure_retention
from asterisk.evaluation.sts import Measurement, SentencePairs, measure, sts_table
from asterisk.models.checkpoints import load_student
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from asterisk.models.resolve import resolve_model
from asterisk.models.static import distil_static, static_encoder
from asterisk.reporting.names import display_name

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
    trained = measure("student", load_encoder(str(student.absolute())), benchmarks)
    if not teacher:
        return [measure("before training", load_encoder(encoder), benchmarks), trained]
    if teacher.partition(":")[0] in ("api", "vectors"):
        return [trained]
    static = static_encoder(distil_static(resolve_model(teacher), trained.dimensions))
    return [
        measure(f"teacher: {display_name(teacher)}", load_encoder(teacher), benchmarks),
        measure("model2vec (untrained)", TextEncoder(f"static:{teacher}", static), benchmarks),
        trained,
    ]


def write_measurements(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Writes results.json and results.md."""
    with atomic_file(folder / "results.md") as temporary:
        temporary.write_text(sts_table(measurements) + "\n", encoding="utf-8")
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
        display_name(str(student)),
        display_name(teacher),
        measure_agreement(vectors, target, texts, token_ids, projection.cpu().numpy()),
        _retained(measurements[-1], measurements[0], benchmarks) if beside_teacher else (),
        embedding_map(vectors, target, texts),
        [
            ComparedModel(line.model, line.mean_score, line.sentences_per_second, line.bytes)
            for line in measurements
            if beside_teacher
        ],
    )


def _retained(student: Measurement, teacher: Measurement, benchmarks: Sequence[SentencePairs]) -> list[RetainedScore]:
    own, other = (
        {
            pairs.name: BenchmarkResult(line.sts[pairs.name], line.cosines[pairs.name], np.array(pairs.scores))
            for pairs in benchmarks
        }
        for line in (student, teacher)
    )
    groups = {"mean": [pairs.name for pairs in benchmarks]} if len(benchmarks) > 1 else {}
    return measure_retention(own, other, groups)
