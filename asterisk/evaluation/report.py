"""The agreement report: what a student keeps of its teacher, as JSON, as Markdown and as a page with plots."""

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, write_json
from asterisk.evaluation.agreement import Agreement, Band
from asterisk.evaluation.embedding_map import EmbeddingMap
from asterisk.evaluation.plots import (
    ComparedModel,
    agreement_plots,
    class_colours,
    comparison_figure,
    comparison_plot,
    map_plot,
    retention_plot,
    size_on_disk,
)
from asterisk.evaluation.retention import Retention
from asterisk.reporting.page import percent, render_page, shortened

FILES = {"report.json", "report.md", "report.html", "comparison.png"}


def write_report(
    folder: Path,
    student: str,
    teacher: str,
    agreement: Agreement | None = None,
    retentions: Sequence[Retention] = (),
    space: EmbeddingMap | None = None,
    compared: Sequence[ComparedModel] = (),
) -> None:
    """Writes `report.json`, `report.md`, `report.html`, and `comparison.png` if there are models to compare.

    The page needs nothing else: no network, no file beside it. A part that is not given is left out.

    Args:
        folder: Made if need be; a report that is there is replaced.
        student: What to call the student.
        teacher: What to call the teacher.
        agreement: On held-out text.
        retentions: Of tasks and groups.
        space: A map of the embedding space.
        compared: Models to draw by quality and speed.

    Raises:
        UserError: The folder holds something else, or cannot be written to; then it stays as it was.
    """
    foreign = sorted({path.name for path in folder.iterdir()} - FILES) if folder.is_dir() else []
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which is no part of a report; give the report its own folder.")
    content = {
        "student": student,
        "teacher": teacher,
        "retention": [asdict(line) for line in retentions],
        "agreement": asdict(agreement) if agreement else None,
        "compared": [asdict(model) for model in compared],
    }
    page = _page(student, teacher, agreement, retentions, space, compared)
    text = report_markdown(student, teacher, agreement, retentions, compared)
    with atomic_folder(folder) as temporary:
        write_json(temporary / "report.json", content)
        (temporary / "report.md").write_text(text, encoding="utf-8")
        (temporary / "report.html").write_text(page, encoding="utf-8")
        if compared:
            comparison_figure(compared).savefig(temporary / "comparison.png", dpi=150)


def report_markdown(
    student: str,
    teacher: str,
    agreement: Agreement | None = None,
    retentions: Sequence[Retention] = (),
    compared: Sequence[ComparedModel] = (),
) -> str:
    """The report's numbers as Markdown; see [`write_report`]."""
    parts = [f"# {_cell(student)} beside its teacher {_cell(teacher)}"]
    if retentions:
        parts += ["## Retention of benchmark scores", retention_table(retentions)]
    if compared:
        parts += ["## Quality and speed", comparison_table(compared), "![Quality and speed](comparison.png)"]
    if agreement:
        parts += ["## Agreement on held-out text", _table(["measure", "student", "teacher"], _measures(agreement))]
        head = ["texts", "cosine", "5–95 %", f"overlap of {agreement.neighbours} neighbours", "count"]
        parts += ["### By length in tokens", _table(head, map(_band_cells, agreement.by_length))]
        parts += ["### By rarity of tokens, in quarters", _table(head, map(_band_cells, agreement.by_rarity))]
        if agreement.differing_texts:
            parts += [
                "### Texts that differ most",
                _table(
                    ["cosine", "text", "nearest to the student", "nearest to the teacher"],
                    (
                        [f"{line.cosine:.3f}", line.text, line.student_nearest, line.teacher_nearest]
                        for line in agreement.differing_texts
                    ),
                ),
            ]
        parts += [
            "### Pairs whose similarity differs most",
            _table(
                ["student", "teacher", "text", "text"],
                (
                    [f"{pair.student:.3f}", f"{pair.teacher:.3f}", pair.first, pair.second]
                    for pair in agreement.differing_pairs
                ),
            ),
        ]
    return "\n\n".join(parts) + "\n"


def retention_table(retentions: Sequence[Retention]) -> str:
    """Tasks and groups with both scores, the share kept and its interval, as a Markdown table."""
    rows = []
    for line in retentions:
        name = f"mean of {line.name}" if line.is_group else line.name
        scores = [f"{line.student:.2f}", f"{line.teacher:.2f}"]
        rows.append([name, *scores, percent(line.retention), _interval(line), line.interval])
    return _table(["task", "student", "teacher", "retention", "95 % interval", "interval from"], rows)


def comparison_table(compared: Sequence[ComparedModel]) -> str:
    """The models' quality, speed and size as a Markdown table."""
    rows = (
        [model.name, f"{model.score:.2f}", f"{model.sentences_per_second:,.0f}", size_on_disk(model)]
        for model in compared
    )
    return _table(["model", "mean score", "sentences/s", "on disk"], rows)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [[_cell(cell) for cell in head], ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    shown = html.escape(shortened(text), quote=False)
    return "".join("\\" + character if character in "\\|`*_[]" else character for character in shown)


def _measures(agreement: Agreement) -> list[list[str]]:
    """Rows of measure, student's value, teacher's value; a value that belongs to both stands first."""
    rows = [["texts", f"{agreement.texts:,}", ""]]
    rows += [["dimensions", str(agreement.student_dimensions), str(agreement.teacher_dimensions)]]
    if agreement.cosines:
        rows += [["cosine to the teacher, mean", f"{agreement.cosines.mean:.4f}", ""]]
        percentiles = agreement.cosines.percentiles
        names = ", ".join(name.removeprefix("p") for name in percentiles)
        rows += [[f"its percentiles {names}", ", ".join(f"{value:.3f}" for value in percentiles.values()), ""]]
    rows += [["cosines are in", agreement.cosine_space, ""]]
    rows += [["Spearman of pairwise similarities", f"{agreement.similarity_spearman:.4f}", ""]]
    rows += [["random pairs", f"{agreement.sampled_pairs:,}", ""]]
    rows += [[f"overlap of the {agreement.neighbours} nearest neighbours", f"{agreement.neighbour_overlap:.1%}", ""]]
    for name, values in (("uniformity", agreement.uniformity), ("anisotropy", agreement.anisotropy)):
        rows += [[name, f"{values['student']:.4f}", f"{values['teacher']:.4f}"]]
    return rows


def _band_cells(band: Band) -> list[str]:
    cosine = ["–", "–"]
    if band.cosine is not None:
        cosine = [f"{band.cosine:.3f}", f"{band.cosine_p5:.3f}–{band.cosine_p95:.3f}"]
    return [band.name, *cosine, f"{band.neighbour_overlap:.1%}", f"{band.texts:,}"]


def _interval(line: Retention) -> str:
    return "–" if line.low is None else f"{percent(line.low)}–{percent(line.high)}"


def _page(
    student: str,
    teacher: str,
    agreement: Agreement | None,
    retentions: Sequence[Retention],
    space: EmbeddingMap | None,
    compared: Sequence[ComparedModel],
) -> str:
    return render_page(
        Path(__file__).with_name("report.html"),
        student=student,
        teacher=teacher,
        cards=_cards(agreement, retentions),
        retentions=retentions,
        interval=_interval,
        retention_plot=retention_plot(retentions) if any(line.retention for line in retentions) else None,
        compared=compared,
        size=size_on_disk,
        comparison_plot=comparison_plot(compared) if compared else None,
        agreement=agreement,
        plots=agreement_plots(agreement) if agreement else [],
        measures=_measures(agreement) if agreement else [],
        space=space,
        legend=class_colours(space.labels) if space else {},
        maps=[("Student", map_plot(space, "student")), ("Teacher", map_plot(space, "teacher"))] if space else [],
    )


def _cards(agreement: Agreement | None, retentions: Sequence[Retention]) -> list[tuple[str, str, str]]:
    """The head figures: value, what it is, and what stands beside it."""
    groups = [line for line in retentions if line.is_group and line.retention is not None]
    cards = [
        (
            percent(line.retention),
            f"of the teacher's score, {line.name}",
            f"{line.student:.2f} of {line.teacher:.2f}"
            + (f"; 95 %: {_interval(line)}" if line.low is not None else ""),
        )
        for line in groups
    ]
    if agreement is None:
        return cards
    if agreement.cosines:
        percentiles = agreement.cosines.percentiles
        beside = f"5–95 % of texts: {percentiles['p5']:.3f}–{percentiles['p95']:.3f}"
        cards.append((f"{agreement.cosines.mean:.3f}", "mean cosine to the teacher", beside))
    cards += [
        (
            f"{agreement.similarity_spearman:.3f}",
            "Spearman of pairwise similarities",
            f"{agreement.sampled_pairs:,} random pairs",
        ),
        (
            percent(agreement.neighbour_overlap),
            f"of the {agreement.neighbours} nearest neighbours shared",
            f"among {agreement.texts:,} held-out texts",
        ),
    ]
    for name, values, better in (
        ("uniformity", agreement.uniformity, "lower is more even"),
        ("anisotropy", agreement.anisotropy, "0: no common direction"),
    ):
        cards.append((f"{values['student']:.2f}", name, f"teacher {values['teacher']:.2f}; {better}"))
    return cards
