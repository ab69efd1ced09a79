"""The results of a finished distillation: the table of scores and the agreement report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterisk.core.files import read_json, write_json, write_text
from asterisk.distillation.loop import Distillation
from asterisk.evaluation.agreement import compare_vectors
from asterisk.evaluation.embedding_map import embedding_map
from asterisk.evaluation.plots import ComparedModel
from asterisk.evaluation.report import Report
from asterisk.evaluation.retention import BenchmarkResult, RetainedScore, measure_retention
from asterisk.evaluation.sts import Measurement, SentencePairs, measure, sts_table
from asterisk.models.checkpoints import load_student
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from asterisk.models.resolve import resolve_model
from asterisk.models.static import static_encoder, untrained_static
from asterisk.reporting.names import display_name

# A map of fewer held-out texts shows no structure.
MIN_REPORT_TEXTS = 100


def report_results(
    folder: Path, teacher: str, encoder: str, distillation: Distillation, benchmarks: Sequence[SentencePairs]
) -> None:
    """Print the results of a finished run; measure them first if the folder lacks them.

    Args:
        folder: The folder of the run; the student is in `model`.
        teacher: The value of `--teacher`.
        encoder: The value of `--encoder`.
        distillation: The run.
        benchmarks: The sentence pairs to measure on; may be empty.
    """
    model, results, page = folder / "model", folder / "results.json", folder / "report" / "report.html"
    measured = read_json(results) if results.exists() else []
    measured_names = list(measured[0]["sts"]) if measured else []
    has_report = distillation.store is not None and len(distillation.heldout_rows) >= MIN_REPORT_TEXTS
    if [pairs.name for pairs in benchmarks] != measured_names or (has_report and not page.exists()):
        measurements = measure_models(model, teacher, encoder, benchmarks) if benchmarks else []
        if benchmarks:
            write_text(folder / "results.md", sts_table(measurements) + "\n")
            write_json(results, [line.numbers() for line in measurements])
        if has_report:
            write_agreement_report(page.parent, model, teacher, distillation, measurements, benchmarks)
    if benchmarks:
        print(f"\n{(folder / 'results.md').read_text(encoding='utf-8')}")
    print(f"Student: {model}\nCurves: {folder / 'curves.png'}")
    if has_report:
        print(f"Agreement with the teacher on held-out text: {page}")


def measure_models(
    student: Path, teacher: str, encoder: str, benchmarks: Sequence[SentencePairs]
) -> list[Measurement]:
    """Measure the student and the models to compare it with.

    Args:
        student: The folder of the trained student.
        teacher: The value of `--teacher`. Only a model can be measured, not an API or precomputed vectors.
        encoder: The value of `--encoder`, for a student without a teacher.
        benchmarks: At least one.

    Returns:
        The teacher, the teacher's untrained static model, and the student. Without a teacher, the encoder before
        training and the student. If the teacher cannot be measured, the student alone.
    """
    trained = measure("student", load_encoder(str(student.absolute())), benchmarks)
    if not teacher:
        return [measure("before training", load_encoder(encoder), benchmarks), trained]
    if teacher.partition(":")[0] in ("api", "vectors"):
        return [trained]
    static = static_encoder(untrained_static(resolve_model(teacher), trained.dimensions))
    return [
        measure(f"teacher: {display_name(teacher)}", load_encoder(teacher), benchmarks),
        measure("model2vec (untrained)", TextEncoder(f"static:{teacher}", static), benchmarks),
        trained,
    ]


def write_agreement_report(
    folder: Path,
    student: Path,
    teacher: str,
    distillation: Distillation,
    measurements: Sequence[Measurement],
    benchmarks: Sequence[SentencePairs],
) -> None:
    """Write the agreement report of a student and its teacher: JSON, Markdown and an HTML page.

    Args:
        folder: The folder of the report.
        student: The folder of the trained student.
        teacher: The teacher's name in the report.
        distillation: The run; at least `MIN_REPORT_TEXTS` sentences were held out.
        measurements: Measurements on the benchmarks, the teacher's first and the student's last; or none.
        benchmarks: The sentence pairs of the measurements.
    """
    store, projection, rows = distillation.store, distillation.projection, distillation.heldout_rows
    assert store is not None
    assert projection is not None
    texts = store.texts(rows)
    vectors, target = load_student(student).encode(texts), store.embeddings(rows).astype(np.float32)
    ids, mask = distillation.tokens.padded(rows)
    token_ids = [line[: int(length)].tolist() for line, length in zip(ids, mask.sum(axis=1), strict=True)]
    has_teacher_line = len(measurements) > 1 and measurements[0].model.startswith("teacher")
    compared = measurements if has_teacher_line else ()
    Report(
        display_name(str(student)),
        display_name(teacher),
        compare_vectors(vectors, target, texts, token_ids, projection.cpu().numpy()),
        _retained(measurements[-1], measurements[0], benchmarks) if has_teacher_line else (),
        embedding_map(vectors, target, texts),
        [ComparedModel(line.model, line.mean_score, line.sentences_per_second, line.bytes) for line in compared],
    ).write(folder)


def _retained(student: Measurement, teacher: Measurement, benchmarks: Sequence[SentencePairs]) -> list[RetainedScore]:
    student_results, teacher_results = (
        {
            pairs.name: BenchmarkResult(line.sts[pairs.name], line.cosines[pairs.name], np.array(pairs.scores))
            for pairs in benchmarks
        }
        for line in (student, teacher)
    )
    groups = {"mean": [pairs.name for pairs in benchmarks]} if len(benchmarks) > 1 else {}
    return measure_retention(student_results, teacher_results, groups)
