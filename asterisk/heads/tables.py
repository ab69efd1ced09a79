"""The tables of a head's report, for the page and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from asterisk.core.markdown import aligned_table
from asterisk.heads.report import HeadReport
from asterisk.reporting.page import Table

METRIC_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "pearson": "Pearson", "spearman": "Spearman"}

# With more classes, the most frequent confusions are listed instead of a matrix.
MATRIX_CLASSES = 20
LISTED_CONFUSIONS = 20

NONE_COLUMNS = {
    "share": "texts with a label, %",
    "accuracy": "accuracy of the labels, %",
    "macro_f1": "macro-F1 with none",
    "none_recall": "recall of none, %",
}


@dataclass
class Section:
    """A part of the report: its title, one sentence, and a table."""

    title: str
    note: str = ""
    table: Table | None = None

    def markdown(self) -> str:
        """Return the section as Markdown."""
        parts = [f"## {self.title}", self.note, self.table.markdown() if self.table else ""]
        return "\n\n".join(part for part in parts if part)


def score_table(report: HeadReport) -> str:
    """Format the saved model's scores and the means over repeats as Markdown; "" if there are no scores."""
    splits = [split for split in ("development", "test") if report.saved.scores(split) is not None]
    if not splits:
        return ""
    metrics = list(report.saved.scores(splits[0]) or {})
    runs = len(report.repeats)
    rows = [["split", *metrics, *([f"mean {name} of {runs}" for name in metrics] if runs > 1 else [])]]
    for split in splits:
        saved, mean = report.saved.scores(split) or {}, report.mean[split]
        row = [split, *(number(saved[name]) for name in metrics)]
        if runs > 1:
            row += [f"{number(mean[name].mean)} ± {number(mean[name].deviation)}" for name in metrics]
        rows.append(row)
    return aligned_table(rows)


def splits_section(report: HeadReport) -> Section:
    """Return the section of the sizes, scores and calibration errors of all splits."""
    splits = list(report.data)
    rows = [
        ["texts", *(f"{size.texts:,}" for size in report.data.values())],
        ["truncated", *(f"{size.truncated:.1%}" for size in report.data.values())],
    ]
    for name in report.saved.development or report.saved.test or {}:
        scores = [report.saved.scores(split) for split in splits]
        rows.append([METRIC_NAMES[name], *("" if values is None else number(values[name]) for values in scores)])
    if report.calibration:
        errors = [report.calibration.get(split) for split in splits]
        before, after = (
            [f"{100 * getattr(entry, moment).error:.2f}" if entry else "" for entry in errors]
            for moment in ("before", "after")
        )
        rows += [["calibration error before scaling, %", *before], ["calibration error after scaling, %", *after]]
    temperature = report.decisions.temperature
    note = (
        "Without development texts, nothing was calibrated."
        if temperature is None
        else f"Logits are divided by a temperature of {temperature:.3f}, fitted on development."
    )
    return Section("All splits", note, _number_table(["measure", *splits], rows))


def decision_sections(report: HeadReport) -> list[Section]:
    """Return the sections of the source of the labels, and of the thresholds and their effect."""
    sections, decisions = [], report.decisions
    if record := report.zero_shot:
        note = (
            f"No text was labelled by hand. {record.teacher} gave each text the nearest label; the {record.kept:,} "
            f"most confident of {record.texts:,} texts were kept. Without a file of labelled development texts, "
            "scores on development measure the agreement with these labels."
        )
        sections.append(Section("Source of the labels", note))
    if decisions.thresholds:
        note = "Each label has its own threshold, chosen for the best F1 on development, instead of one half."
        rows = [
            [split, number(scores["accuracy"]), number(scores["macro_f1"])]
            for split, scores in report.with_thresholds.items()
        ]
        sections.append(Section("Thresholds", note, _number_table(["split", "accuracy", "macro-F1"], rows)))
    if decisions.criterion:
        chosen, table = decisions.none_threshold, None
        note = "No threshold was chosen" if chosen is None else f"Give no label below a probability of {chosen:.4f}"
        if report.none:
            lines = {split: vars(scores) for split, scores in report.none.items()}
            columns = [key for key in NONE_COLUMNS if any(line[key] is not None for line in lines.values())]
            rows = [[split, *(number(line[key]) for key in columns)] for split, line in lines.items()]
            table = _number_table(["split", *(NONE_COLUMNS[key] for key in columns)], rows)
        sections.append(Section("None of these", f"{note}: {decisions.criterion}.", table))
    return sections


def detail_sections(report: HeadReport) -> list[Section]:
    """Return the sections of the scores per label and of the most confident mistakes."""
    sections = []
    if report.classes:
        thresholds = report.decisions.thresholds or {}
        rows = [
            [line.label, *(f"{value:.1f}" for value in (line.precision, line.recall, line.f1)), f"{line.texts:,}"]
            + ([f"{thresholds[line.label]:.3f}"] if thresholds else [])
            for line in report.classes
        ]
        head = ["label", "precision", "recall", "F1", "texts", *(["threshold"] if thresholds else [])]
        sections.append(Section(f"Labels on {report.detail}", table=_number_table(head, rows)))
    if report.mistakes:
        rows = [[line.text, line.label, line.predicted, f"{line.confidence:.3f}"] for line in report.mistakes]
        note = "Some of these texts may be mislabelled, or fit either label."
        table = Table(["text", "label", "predicted", "probability"], rows, "lllr")
        sections.append(Section(f"Most confident mistakes on {report.detail}", note, table))
    return sections


def plotted_sections(report: HeadReport) -> list[Section]:
    """Return the sections that the page shows as plots and cards: learning curve, confusion and speed."""
    sections = []
    if curve := report.learning_curve:
        metrics = list(curve[0].scores)
        rows = [[f"{point.texts:,}", *(number(point.scores[name]) for name in metrics)] for point in curve]
        head = ["training texts", *(METRIC_NAMES[name] for name in metrics)]
        sections.append(Section("Learning curve", table=_number_table(head, rows)))
    if matrix := report.confusion:
        table = _confusion_table(matrix, [line.label for line in report.classes])
        sections.append(Section(f"Confusion on {report.detail}", table=table))
    latency = report.latency
    head = ["milliseconds per text", f"{latency.device}, {latency.threads} threads"]
    rows = [["alone", f"{latency.one_text_ms:.2f}"], [f"in a batch of {latency.batch}", f"{latency.in_batch_ms:.3f}"]]
    return [*sections, Section("Speed", table=_number_table(head, rows))]


def number(value: float | None) -> str:
    """Format a score with two decimals, or None as a dash."""
    return "–" if value is None else f"{value:.2f}"


def _confusion_table(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> Table:
    if len(names) <= MATRIX_CLASSES:
        rows = [[name, *(str(matrix.get(name, {}).get(other, 0)) for other in names)] for name in names]
        return _number_table(["label \\ predicted", *names], rows)
    wrong = [(-count, label, other) for label, row in matrix.items() for other, count in row.items() if label != other]
    listed = [[label, other, str(-count)] for count, label, other in sorted(wrong)[:LISTED_CONFUSIONS]]
    return Table(["label", "predicted", "texts"], listed, "llr")


def _number_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is text and whose other columns are numbers."""
    return Table(head, rows, "l" + "r" * (len(head) - 1))
