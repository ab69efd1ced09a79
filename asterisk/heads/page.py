"""A head's report as Markdown, and as an HTML page with plots that needs no other file."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.express as px
import plotly.graph_objects as go

from asterisk.core.files import write_text
from asterisk.heads.report import Calibration, CurvePoint, HeadReport
from asterisk.heads.tables import (
    METRIC_NAMES,
    decision_sections,
    detail_sections,
    number,
    plotted_sections,
    score_table,
    splits_section,
)
from asterisk.reporting.page import Card, render_page
from asterisk.reporting.plots import FIRST, SECOND, Plot, add_diagonal, plot_html

# More classes do not fit on a screen, so only the most confused ones are drawn.
DRAWN_CLASSES = 40
# With more classes, the cells are too small for counts.
MAX_CLASSES_WITH_COUNTS = 20
LABEL_CHARACTERS = 28


def write_head_report(folder: Path, report: HeadReport) -> str:
    """Write report.md, report.html and report.json, and return the table of scores as Markdown.

    report.json comes last, because it marks the run as finished.
    """
    scores = score_table(report)
    sections = [splits_section(report), *decision_sections(report)]
    sections += [*detail_sections(report), *plotted_sections(report)]
    parts = [f"# {report.mode} head on {report.model}", scores, *(section.markdown() for section in sections)]
    write_text(folder / "report.md", "\n\n".join(part for part in parts if part) + "\n")
    write_text(folder / "report.html", head_page(report))
    report.write(folder)
    return scores


def head_page(report: HeadReport) -> str:
    """Render the page of a report."""
    plots = []
    if report.detail:
        note = f"On {report.detail}. On the dashed line, the share of right labels equals the mean probability."
        figure = _reliability_plot(report.calibration[report.detail])
        plots.append(Plot("Reliability", note, plot_html(figure, "reliability", 420)))
    if len(report.learning_curve) > 1:
        note = "Scores with fewer training texts. A rising end means that more texts would help."
        plots.append(Plot("Learning curve", note, plot_html(_curve_plot(report.learning_curve), "curve", 420)))
    if len(losses := report.saved.losses) > 1:
        note = "The weights with the lowest loss are kept."
        plots.append(Plot("Development loss", note, plot_html(_loss_plot(losses), "losses", 420)))
    return render_page(
        Path(__file__).with_name("report.html"),
        report=report,
        cards=_cards(report),
        plots=plots,
        splits=splits_section(report),
        confusion=_confusion(report),
        decisions=decision_sections(report),
        details=detail_sections(report),
    )


def _cards(report: HeadReport) -> list[Card]:
    saved, latency, cards, runs = report.saved, report.latency, [], len(report.repeats)
    split = "test" if saved.test else "development"
    for name, value in (saved.scores(split) or {}).items():
        note = f"{report.data[split].texts:,} texts"
        if runs > 1:
            mean = report.mean[split][name]
            note += f"; mean of {runs}: {number(mean.mean)} ± {number(mean.deviation)}"
        cards.append(Card(number(value), f"{METRIC_NAMES[name]} on {split}", note))
    if split in report.calibration:
        entry = report.calibration[split]
        note = f"{100 * entry.before.error:.1f} % before temperature scaling"
        cards.append(Card(f"{100 * entry.after.error:.1f} %", f"calibration error on {split}", note))
    note = f"{latency.in_batch_ms:.2f} ms in a batch of {latency.batch}; {latency.device}"
    cards.append(Card(f"{latency.one_text_ms:.1f} ms", "per text", note))
    cards.append(Card(f"{saved.seconds:.1f} s", "of training", f"{saved.texts:,} texts, {saved.passes:g} passes"))
    return cards


def _reliability_plot(calibration: Calibration) -> go.Figure:
    figure = go.Figure()
    add_diagonal(figure, 0, 1)
    for name, values, colour in (("before", calibration.before, SECOND), ("after", calibration.after, FIRST)):
        sizes = np.sqrt(np.array(values.counts) / max(values.counts))
        figure.add_scatter(
            x=values.confidence,
            y=values.accuracy,
            mode="lines+markers",
            name=f"{name} scaling: error {100 * values.error:.1f} %",
            line={"color": colour},
            marker={"color": colour, "size": (5 + 13 * sizes).tolist(), "opacity": 0.8},
            customdata=values.counts,
            hovertemplate="probability %{x:.2f}, right %{y:.2f}<br>%{customdata:,} decisions<extra></extra>",
        )
    figure.update_xaxes(title="probability", range=[-0.02, 1.05])
    figure.update_yaxes(title="share that is right", range=[-0.02, 1.05])
    return figure


def _curve_plot(curve: Sequence[CurvePoint]) -> go.Figure:
    texts = [point.texts for point in curve]
    scores = {METRIC_NAMES[name]: [point.scores[name] for point in curve] for name in curve[0].scores}
    figure = px.line(
        {"training texts": texts, **scores},
        x="training texts",
        y=list(scores),
        markers=True,
        log_x=True,
        color_discrete_sequence=[FIRST, SECOND],
        labels={"value": "score × 100", "variable": ""},
    )
    figure.update_xaxes(tickvals=texts, ticktext=[f"{count:,}" for count in texts])
    return figure


def _loss_plot(losses: Sequence[float]) -> go.Figure:
    best, passes = int(np.argmin(losses)), range(1, len(losses) + 1)
    labels = {"x": "pass", "y": "development loss"}
    figure = px.line(x=passes, y=losses, markers=True, color_discrete_sequence=[FIRST], labels=labels)
    kept = {"size": 13, "color": SECOND}
    figure.add_scatter(x=[best + 1], y=[losses[best]], mode="markers", marker=kept, name="kept")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _confusion(report: HeadReport) -> Plot | None:
    if not report.confusion:
        return None
    labels = [line.label for line in report.classes]
    names = _most_confused(report.confusion, labels)
    note = "Rows: true label. Columns: predicted label. Hover for counts."
    if len(names) < len(labels):
        note += f" The {len(names)} most confused of {len(labels)} labels are shown."
    figure = _confusion_plot(report.confusion, names)
    height = max(420, 190 + 21 * len(names))
    return Plot(f"Confusion on {report.detail}", note, plot_html(figure, "confusion", height))


def _most_confused(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> list[str]:
    wrong = dict.fromkeys(names, 0)
    for label, row in matrix.items():
        for other, count in row.items():
            if label != other:
                wrong[label] += count
                wrong[other] += count
    drawn = set(sorted(names, key=lambda name: -wrong[name])[:DRAWN_CLASSES])
    return [name for name in names if name in drawn]


def _confusion_plot(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> go.Figure:
    """Colour each cell by its share of the row, so that frequent labels do not dominate."""
    counts = np.array([[matrix.get(label, {}).get(other, 0) for other in names] for label in names])
    totals = np.array([sum(matrix.get(label, {}).values()) for label in names])
    escaped, places = [html.escape(name) for name in names], list(range(len(names)))
    ticks = [
        html.escape(name if len(name) <= LABEL_CHARACTERS else name[: LABEL_CHARACTERS - 1] + "…") for name in names
    ]
    figure = go.Figure(
        go.Heatmap(
            z=(100 * counts / np.maximum(totals, 1)[:, None]).tolist(),
            x=places,
            y=places,
            text=[[f"{count:,}" if count else "" for count in row] for row in counts.tolist()],
            texttemplate="%{text}" if len(names) <= MAX_CLASSES_WITH_COUNTS else None,
            colorscale=[[0, "#ffffff"], [0.15, "#cfe3f1"], [1, FIRST]],
            zmin=0,
            zmax=100,
            xgap=1,
            ygap=1,
            customdata=[
                [[label, other, count] for other, count in zip(escaped, row, strict=True)]
                for label, row in zip(escaped, counts.tolist(), strict=True)
            ],
            hovertemplate="%{customdata[0]} predicted as %{customdata[1]}: %{customdata[2]:,} texts, "
            "%{z:.1f} %<extra></extra>",
            colorbar={"title": {"text": "% of row", "side": "right"}, "thickness": 12},
        )
    )
    axis = {"tickvals": places, "ticktext": ticks, "showgrid": False, "zeroline": False}
    figure.update_xaxes(**axis, tickangle=-45, side="bottom")
    figure.update_yaxes(**axis, autorange="reversed")
    return figure
