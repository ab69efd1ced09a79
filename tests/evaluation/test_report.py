"""The report: files that agree with each other, and a page that needs no other file."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.evaluation.agreement import Agreement, compare_vectors
from asterisk.evaluation.embedding_map import EmbeddingMap, embedding_map
from asterisk.evaluation.plots import ComparedModel, comparison_figure
from asterisk.evaluation.report import Report
from asterisk.evaluation.retention import BenchmarkResult, RetainedScore, measure_retention
from asterisk.teachers.encoder import SentenceTransformerTeacher

HOSTILE = "<script>alert('|')</script> <img src=x onerror=alert(1)> `a|b` {{ 1 }}"
MODELS = [ComparedModel("teacher <b>", 78.9, 400, 90_000_000), ComparedModel("student", 70.0, 4_000, 28_000_000)]


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    return [HOSTILE, *sentences[::60]]


@pytest.fixture(scope="module")
def vectors(texts: list[str], teacher: SentenceTransformerTeacher) -> np.ndarray:
    return teacher.encode(texts)[0]


@pytest.fixture(scope="module")
def measured(texts: list[str], vectors: np.ndarray) -> Agreement:
    # The student inverts the hostile text's vector, so that this text comes first in every table.
    student = vectors + 0.02 * np.random.default_rng(0).normal(size=vectors.shape)
    student[0] = -vectors[0]
    return compare_vectors(student, vectors, texts, [text.split() for text in texts], np.eye(vectors.shape[1]))


@pytest.fixture(scope="module")
def retained() -> list[RetainedScore]:
    student = {"A": BenchmarkResult(60.0, experiments=[59.0, 60.0, 61.0]), "B|": BenchmarkResult(30.0)}
    teacher = {"A": BenchmarkResult(80.0, experiments=[81.0, 80.0, 79.0]), "B|": BenchmarkResult(60.0)}
    return measure_retention(student, teacher, {"both": ["A", "B|"]})


@pytest.fixture(scope="module")
def space(texts: list[str], vectors: np.ndarray) -> EmbeddingMap:
    return embedding_map(vectors, vectors, texts, ["a class"] + ["</script>"] * (len(texts) - 1))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    measured: Agreement,
    retained: Sequence[RetainedScore],
    space: EmbeddingMap,
) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    Report("<i>student</i>", "teacher", measured, retained, space, MODELS).write(folder)
    return folder


def test_the_files_hold_the_same_numbers(folder: Path, measured: Agreement) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.png",
        "report.html",
        "report.json",
        "report.md",
    ]
    content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert content["agreement"]["neighbour_overlap"] == measured.neighbour_overlap
    assert content["retention"][0]["retention"] == 0.75
    markdown, page = ((folder / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    for number in ("75.0%", f"{measured.similarity_spearman:.4f}", f"{measured.neighbour_overlap:.1%}"):
        assert number in markdown
        assert number in page


def test_the_page_loads_no_file_and_has_each_plot_once(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|img|link|iframe)[^>]*\s(src|href)\s*=", page.replace("<img src=x", ""))
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") == 1
    for plot in ("retention", "comparison", "pairs", "similarities", "cosines", "length", "rarity"):
        assert page.count(f'<div id="{plot}"') == 1
    assert page.count('<div id="map-') == 2


def test_texts_and_names_are_escaped(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<i>student</i>" not in page
    assert "&lt;script&gt;alert" in page
    rows = [line for line in (folder / "report.md").read_text(encoding="utf-8").splitlines() if "alert" in line]
    assert rows
    assert all("<" not in row for row in rows)
    # As many cells as the head has: a bar in a text ends no cell.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_parts_that_are_missing_are_left_out(
    tmp_path: Path, retained: Sequence[RetainedScore], measured: Agreement
) -> None:
    Report("student", "teacher", retained=retained).write(tmp_path)
    assert "Held-out" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "comparison.png").exists()
    Report("student", "teacher", measured).write(tmp_path)
    assert "Retention" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_report_replaces_only_a_report(tmp_path: Path, retained: Sequence[RetainedScore]) -> None:
    folder = tmp_path / "report"
    Report("student", "teacher", retained=retained, compared=MODELS).write(folder)
    Report("student", "teacher", retained=retained).write(folder)
    # The first report's picture would contradict the second report.
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    (tmp_path / "notes.txt").write_text("notes", encoding="utf-8")
    with pytest.raises(UserError, match="holds notes"):
        Report("student", "teacher", retained=retained).write(tmp_path)
    with pytest.raises(UserError, match="could not be written"):
        Report("student", "teacher", retained=retained).write(tmp_path / "notes.txt" / "report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "report"]


def test_a_map_of_many_classes_shows_the_ten_most_frequent(texts: list[str], vectors: np.ndarray) -> None:
    labels = [f"class {min(row // 4, 14)}" for row in range(len(texts))]
    shown = embedding_map(vectors, vectors, texts, labels)
    assert len(set(shown.labels)) == 10
    assert (
        len(shown.texts) == len(shown.student) == len(shown.teacher) == sum(label in shown.labels for label in labels)
    )
    assert "15 classes" in shown.caption
    # The same vectors from the same start get the same layout.
    np.testing.assert_allclose(shown.student, shown.teacher)


def test_texts_without_labels_are_coloured_by_cluster(texts: list[str], vectors: np.ndarray) -> None:
    assert set(embedding_map(vectors, vectors, texts).labels) == {f"cluster {number}" for number in range(1, 9)}
    with pytest.raises(UserError, match="at least 12 texts"):
        embedding_map(vectors[:5], vectors[:5], texts[:5])


def test_models_of_similar_speed_have_ticks_between_them() -> None:
    figure = comparison_figure([ComparedModel("a", 70, 2_300, 10), ComparedModel("b", 71, 2_400, 20)])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2,000"]
