"""The agreement report: what a student retains of its teacher, as JSON, as Markdown and as a page with plots."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    megabytes,
    retention_plot,
)
from asterisk.evaluation.retention import RetainedScore
from asterisk.reporting.page import Card, Table, markdown_text, percent, render_page

FILES = {"report.json", "report.md", "report.html", "comparison.png"}


@dataclass
class Report:
    """A student compared with its teacher; missing parts are left out.

    The parts are measures on held-out text, scores on tasks and groups, a map of the embedding space, and the models
    in the plot of quality against speed.
    """

    student: str
    teacher: str
    agreement: Agreement | None = None
    retained: Sequence[RetainedScore] = ()
    space: EmbeddingMap | None = None
    compared: Sequence[ComparedModel] = ()

    def write(self, folder: Path) -> None:
        """Write `report.json`, `report.md`, `report.html`, and `comparison.png` if there are models to compare.

        The folder is created; an earlier report in it is replaced. The page needs no network and no other file.

        Raises:
            UserError: The folder holds other files or is not writable; it stays unchanged.
        """
        foreign = sorted({path.name for path in folder.iterdir()} - FILES) if folder.is_dir() else []
        if foreign:
            raise UserError(
                f"{folder} holds {foreign[0]}, which is not part of a report; give the report another folder."
            )
        content = {
            "student": self.student,
            "teacher": self.teacher,
            "retention": [asdict(line) for line in self.retained],
            "agreement": asdict(self.agreement) if self.agreement else None,
            "compared": [asdict(model) for model in self.compared],
        }
        page, text = self.page(), self.markdown()
        with atomic_folder(folder) as temporary:
            write_json(temporary / "report.json", content)
            (temporary / "report.md").write_text(text, encoding="utf-8")
            (temporary / "report.html").write_text(page, encoding="utf-8")
            if self.compared:
                comparison_figure(self.compared).savefig(temporary / "comparison.png", dpi=150)

    def markdown(self) -> str:
        """Return the tables as Markdown."""
        parts = [f"# {markdown_text(self.student)} and its teacher {markdown_text(self.teacher)}"]
        if self.retained:
            parts += ["## Retention of benchmark scores", _retention_table(self.retained).markdown()]
        if self.compared:
            parts += ["## Quality and speed", _comparison_table(self.compared).markdown()]
            parts += ["![Quality and speed](comparison.png)"]
        if agreement := self.agreement:
            parts += ["## Agreement on held-out text", _measures_table(agreement).markdown(), _space_note(agreement)]
            for title, bands in (
                ("Length in tokens", agreement.by_length),
                ("Rarity of tokens, in quarters", agreement.by_rarity),
            ):
                parts += [f"### {title}", _bands_table(bands, agreement.neighbours).markdown()]
            if agreement.differing_texts:
                parts += ["### Texts that differ most", _texts_table(agreement).markdown()]
            parts += ["### Pairs that differ most", _pairs_table(agreement).markdown()]
        return "\n\n".join(parts) + "\n"

    def page(self) -> str:
        """Return the plots and tables as HTML."""
        agreement, space = self.agreement, self.space
        return render_page(
            Path(__file__).with_name("report.html"),
            report=self,
            cards=_cards(agreement, self.retained),
            retention_table=_retention_table(self.retained),
            retention_plot=retention_plot(self.retained) if any(line.retention for line in self.retained) else None,
            comparison_table=_comparison_table(self.compared),
            comparison_plot=comparison_plot(self.compared) if self.compared else None,
            plots=agreement_plots(agreement) if agreement else [],
            measures=_measures_table(agreement) if agreement else None,
            space_note=_space_note(agreement) if agreement else "",
            differing_texts=_texts_table(agreement) if agreement else None,
            differing_pairs=_pairs_table(agreement) if agreement else None,
            legend=class_colours(space.labels) if space else {},
            maps=[map_plot(space, "student"), map_plot(space, "teacher")] if space else [],
        )


def _retention_table(retained: Sequence[RetainedScore]) -> Table:
    rows = [
        [
            f"mean of {line.name}" if line.is_group else line.name,
            f"{line.student:.2f}",
            f"{line.teacher:.2f}",
            percent(line.retention),
            _interval(line),
            line.interval,
        ]
        for line in retained
    ]
    head = ["task", "student", "teacher", "retention", "95 % interval", "interval from"]
    return Table(head, rows, "lrrrrl", [row for row, line in enumerate(retained) if line.is_group])


def _comparison_table(compared: Sequence[ComparedModel]) -> Table:
    rows = [
        [model.name, f"{model.score:.2f}", f"{model.sentences_per_second:,.0f}", megabytes(model)]
        for model in compared
    ]
    return Table(["model", "mean score", "sentences/s", "on disk"], rows, "lrrr")


def _measures_table(agreement: Agreement) -> Table:
    """Return the table of measures; values that compare the two models are in the student's column."""
    dimensions = str(agreement.student_dimensions), str(agreement.teacher_dimensions)
    rows = [["texts", f"{agreement.texts:,}", ""], ["dimensions", *dimensions]]
    if agreement.cosines:
        rows += [["cosine to the teacher, mean", f"{agreement.cosines.mean:.4f}", ""]]
        for name, value in agreement.cosines.percentiles.items():
            rows += [[f"cosine to the teacher, percentile {name.removeprefix('p')}", f"{value:.3f}", ""]]
    rows += [
        ["Spearman of pairwise similarities", f"{agreement.similarity_spearman:.4f}", ""],
        ["random pairs", f"{agreement.sampled_pairs:,}", ""],
        [f"overlap of the {agreement.neighbours} nearest neighbours", f"{agreement.neighbour_overlap:.1%}", ""],
    ]
    for name, values in (("uniformity", agreement.uniformity), ("anisotropy", agreement.anisotropy)):
        rows += [[name, f"{values['student']:.4f}", f"{values['teacher']:.4f}"]]
    return Table(["measure", "student", "teacher"], rows, "lrr")


def _space_note(agreement: Agreement) -> str:
    return f"Space of the cosines to the teacher: {agreement.cosine_space}."


def _bands_table(bands: Sequence[Band], neighbours: int) -> Table:
    rows = []
    for band in bands:
        cosines = ["–", "–"]
        if band.cosine is not None:
            cosines = [f"{band.cosine:.3f}", f"{band.cosine_p5:.3f}–{band.cosine_p95:.3f}"]
        rows.append([band.name, *cosines, f"{band.neighbour_overlap:.1%}", f"{band.texts:,}"])
    head = ["texts", "cosine", "5–95 %", f"overlap of {neighbours} neighbours", "count"]
    return Table(head, rows, "lrrrr")


def _texts_table(agreement: Agreement) -> Table:
    rows = [
        [f"{line.cosine:.3f}", line.text, line.student_nearest, line.teacher_nearest]
        for line in agreement.differing_texts
    ]
    return Table(["cosine", "text", "nearest for the student", "nearest for the teacher"], rows, "rlll")


def _pairs_table(agreement: Agreement) -> Table:
    rows = [
        [f"{pair.student:.3f}", f"{pair.teacher:.3f}", pair.first, pair.second] for pair in agreement.differing_pairs
    ]
    return Table(["student", "teacher", "first text", "second text"], rows, "rrll")


def _interval(line: RetainedScore) -> str:
    return "–" if line.low is None else f"{percent(line.low)}–{percent(line.high)}"


def _cards(agreement: Agreement | None, retained: Sequence[RetainedScore]) -> list[Card]:
    cards = []
    for line in retained:
        if line.is_group and line.retention is not None:
            note = f"{line.student:.2f} of {line.teacher:.2f}"
            note += "" if line.low is None else f"; 95 %: {_interval(line)}"
            cards.append(Card(percent(line.retention), f"of the teacher's score, {line.name}", note))
    if agreement is None:
        return cards
    if agreement.cosines:
        low, high = (agreement.cosines.percentiles[name] for name in ("p5", "p95"))
        note = f"5–95 % of texts: {low:.3f}–{high:.3f}"
        cards.append(Card(f"{agreement.cosines.mean:.3f}", "mean cosine to the teacher", note))
    spearman, overlap = f"{agreement.similarity_spearman:.3f}", percent(agreement.neighbour_overlap)
    neighbours = f"of the {agreement.neighbours} nearest neighbours shared"
    cards += [
        Card(spearman, "Spearman of pairwise similarities", f"{agreement.sampled_pairs:,} random pairs"),
        Card(overlap, neighbours, f"among {agreement.texts:,} held-out texts"),
    ]
    for name, values, meaning in (
        ("uniformity", agreement.uniformity, "lower is more uniform"),
        ("anisotropy", agreement.anisotropy, "0: no common direction"),
    ):
        cards.append(Card(f"{values['student']:.2f}", name, f"teacher {values['teacher']:.2f}; {meaning}"))
    return cards
