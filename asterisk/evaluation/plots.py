"""The plots of the agreement report as HTML; the plot of quality against speed is also an image."""

import html
import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.express as px
import plotly.graph_objects as go
from matplotlib.figure import Figure

from asterisk.evaluation.agreement import Agreement, Band, Histogram
from asterisk.evaluation.embedding_map import EmbeddingMap
from asterisk.evaluation.retention import RetainedScore
from asterisk.reporting.page import shortened
from asterisk.reporting.plots import CLASS_COLOURS, FIRST, NEUTRAL, SECOND, Plot, add_diagonal, bold, plot_html

STUDENT, TEACHER = FIRST, SECOND
TASK_BAR = "#7FB3D5"
NEIGHBOUR_MARKER = "#009E73"
# The disc of the largest model, in points.
MAX_DIAMETER = 45


@dataclass
class ComparedModel:
    """One model's quality (mean main score × 100), speed, and size on disk in bytes."""

    name: str
    score: float
    sentences_per_second: float
    bytes: int


def megabytes(model: ComparedModel) -> str:
    """Format a model's size on disk."""
    return f"{model.bytes / 1e6:,.1f} MB"


def comparison_figure(compared: Sequence[ComparedModel]) -> Figure:
    """Draw quality against speed with matplotlib; the area of a model's disc is its size on disk."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    for index, (model, diameter) in enumerate(zip(compared, _diameters(compared), strict=True)):
        axes.scatter(
            model.sentences_per_second,
            model.score,
            s=diameter**2,
            color=CLASS_COLOURS[index % len(CLASS_COLOURS)],
            alpha=0.75,
            label=f"{model.name} ({megabytes(model)})",
        )
    scores = [model.score for model in compared]
    margin = max(1.0, 0.25 * (max(scores) - min(scores)))
    axes.set(
        xscale="log",
        xlim=_speed_range(compared),
        ylim=(min(scores) - margin, max(scores) + margin),
        xlabel="sentences per second",
        ylabel="mean score",
    )
    axes.set_xticks(_speed_ticks(compared))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    # The legend's discs have one size, because the plotted sizes would not fit.
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False, title="area: size on disk")
    for handle in legend.legend_handles:
        handle.set_sizes([70])  # type: ignore[union-attr]
    return figure


def comparison_plot(compared: Sequence[ComparedModel]) -> str:
    """Draw quality against speed as HTML; see [`comparison_figure`]."""
    ticks, names = _speed_ticks(compared), [html.escape(model.name) for model in compared]
    figure = px.scatter(
        x=[model.sentences_per_second for model in compared],
        y=[model.score for model in compared],
        color=names,
        size=np.square(_diameters(compared)),
        size_max=MAX_DIAMETER,
        hover_name=[f"{name}, {megabytes(model)}" for name, model in zip(names, compared, strict=True)],
        color_discrete_sequence=CLASS_COLOURS,
        log_x=True,
        range_x=_speed_range(compared),
        labels={"x": "sentences per second", "y": "mean score", "color": "model"},
    )
    figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    return plot_html(figure, "comparison", 460)


def _speed_range(compared: Sequence[ComparedModel]) -> tuple[float, float]:
    speeds = [model.sentences_per_second for model in compared]
    return min(speeds) / 2, max(speeds) * 2


def _speed_ticks(compared: Sequence[ComparedModel]) -> list[int]:
    """Return the powers of ten in range; for a short range, which may hold none, also their multiples by 2 and 5."""
    low, high = _speed_range(compared)
    steps = (1,) if high / low > 100 else (1, 2, 5)
    return [step * 10**power for power in range(9) for step in steps if low <= step * 10**power <= high]


def _diameters(compared: Sequence[ComparedModel]) -> list[float]:
    """Return diameters in points, from 8 to 45; above the minimum, areas are proportional to the sizes."""
    largest = max(model.bytes for model in compared)
    return [max(8.0, MAX_DIAMETER * (model.bytes / largest) ** 0.5) for model in compared]


def retention_plot(retained: Sequence[RetainedScore]) -> str:
    """Draw bars of the shares of the teacher's scores, with their intervals, as HTML."""
    # Plotly draws the first bar at the bottom.
    shown = [(line, 100 * line.retention) for line in reversed(retained) if line.retention is not None]
    shares = [share for _, share in shown]
    figure = go.Figure(
        go.Bar(
            x=shares,
            y=[bold(line.name) if line.is_group else html.escape(line.name) for line, _ in shown],
            orientation="h",
            marker_color=[STUDENT if line.is_group else TASK_BAR for line, _ in shown],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [line.high and 100 * line.high - share for line, share in shown],
                "arrayminus": [line.low and share - 100 * line.low for line, share in shown],
                "color": "#22272e",
                "thickness": 2,
                # Caps would also show on bars without an interval.
                "width": 0,
            },
            hovertext=[
                html.escape(f"{line.name}: {line.student:.2f} of {line.teacher:.2f}; {line.interval}")
                for line, _ in shown
            ],
            hoverinfo="text",
        )
    )
    figure.add_vline(x=100, line={"color": TEACHER, "dash": "dash"})
    highest = max(*shares, *(100 * (line.high or 0) for line, _ in shown))
    figure.update_xaxes(title="% of the teacher's score", range=[0, max(105, highest + 3)])
    return plot_html(figure, "retention", 110 + 26 * len(shown))


def agreement_plots(agreement: Agreement) -> list[Plot]:
    """Draw how student and teacher agree on held-out text."""
    plots = [
        Plot(
            "Similarity of pairs",
            "Each dot is a pair of texts. On the dashed line, both models agree.",
            plot_html(_pair_scatter(agreement), "pairs", 430),
        ),
        Plot(
            "Similarities of random pairs",
            "A model whose random pairs lie far from 0 uses few of its directions.",
            plot_html(_histograms(agreement.similarities, "cosine of two random texts", "pairs"), "similarities", 430),
        ),
    ]
    note = "Diamond: share of nearest neighbours in common."
    if agreement.cosines:
        note = f"Dot: mean cosine to the teacher, with its 5th to 95th percentile. {note}"
        figure = _histograms({"student": agreement.cosines.histogram}, "cosine to the teacher's vector", "texts")
        plots.append(
            Plot("Cosine to the teacher", f"In {agreement.cosine_space}.", plot_html(figure, "cosines", 380)),
        )
    for title, bands, name in (
        ("Agreement by length in tokens", agreement.by_length, "length"),
        ("Agreement by rarity of tokens, in quarters", agreement.by_rarity, "rarity"),
    ):
        plots.append(Plot(title, note, plot_html(_band_plot(bands), name, 380)))
    return plots


def _pair_scatter(agreement: Agreement) -> go.Figure:
    pairs = np.array([*agreement.random_pairs, *agreement.near_pairs])
    kinds = ["random pairs"] * len(agreement.random_pairs)
    kinds += ["nearest neighbours of either"] * len(agreement.near_pairs)
    figure = px.scatter(
        x=pairs[:, 1],
        y=pairs[:, 0],
        color=kinds,
        color_discrete_sequence=[NEUTRAL, STUDENT],
        opacity=0.45,
        labels={"x": "teacher's cosine", "y": "student's cosine", "color": ""},
    )
    figure.update_traces(marker_size=4)
    figure.update_layout(legend={"itemsizing": "constant"})
    add_diagonal(figure, pairs.min(), 1, TEACHER)
    return figure


def _histograms(histograms: dict[str, Histogram], title: str, unit: str) -> go.Figure:
    bars = [
        (name, (low + high) / 2, 100 * count / sum(histogram.counts))
        for name, histogram in histograms.items()
        for (low, high), count in zip(itertools.pairwise(histogram.edges), histogram.counts, strict=True)
    ]
    names, centres, shares = zip(*bars, strict=True)
    figure = px.bar(
        x=centres,
        y=shares,
        color=names,
        color_discrete_map={"student": STUDENT, "teacher": TEACHER},
        opacity=0.6,
        barmode="overlay",
        labels={"x": title, "y": f"% of {unit}", "color": ""},
    )
    figure.update_traces(marker_line_width=0)
    figure.update_layout(bargap=0, showlegend=len(histograms) > 1)
    return figure


def _band_plot(bands: Sequence[Band]) -> go.Figure:
    names = [f"{band.name}<br>n = {band.texts:,}" for band in bands]
    figure = go.Figure()
    if all(band.cosine is not None for band in bands):
        means, low, high = np.array([(band.cosine, band.cosine_p5, band.cosine_p95) for band in bands], dtype=float).T
        figure.add_scatter(
            x=names,
            y=means,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": high - means,
                "arrayminus": means - low,
                "thickness": 1.5,
            },
            mode="markers",
            name="cosine",
            marker={"size": 11, "color": STUDENT},
            hovertemplate="mean cosine %{y:.3f}<extra></extra>",
        )
    figure.add_scatter(
        x=names,
        y=[band.neighbour_overlap for band in bands],
        mode="markers",
        name="neighbours in common",
        marker={"size": 11, "symbol": "diamond", "color": NEIGHBOUR_MARKER},
        hovertemplate="%{y:.1%} of the neighbours<extra></extra>",
    )
    lowest = min(band.neighbour_overlap if band.cosine_p5 is None else band.cosine_p5 for band in bands)
    figure.update_yaxes(range=[min(0.0, lowest - 0.03), 1.03])
    figure.update_xaxes(type="category")
    return figure


def map_plot(space: EmbeddingMap, model: str) -> Plot:
    """Draw the map of one of the two models, "student" or "teacher"."""
    points = space.student if model == "student" else space.teacher
    figure = px.scatter(
        x=np.round(points[:, 0], 4),
        y=np.round(points[:, 1], 4),
        color=space.labels,
        color_discrete_map=class_colours(space.labels),
        labels={"x": "", "y": ""},
        hover_name=[_hover_text(text, label) for text, label in zip(space.texts, space.labels, strict=True)],
    )
    figure.update_traces(marker={"size": 5, "opacity": 0.8}, hovertemplate="%{hovertext}<extra></extra>", name="")
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(
            title=None,
            showticklabels=False,
            showgrid=False,
            zeroline=False,
            showline=True,
            linecolor="#d0d7de",
            mirror=True,
        )
    figure.update_layout(showlegend=False)
    return Plot(model.capitalize(), "", plot_html(figure, f"map-{model}", 460))


def class_colours(labels: Sequence[str]) -> dict[str, str]:
    """Map each label to its colour, in alphabetical order."""
    return dict(zip(sorted(set(labels)), CLASS_COLOURS, strict=False))


def _hover_text(text: str, label: str) -> str:
    """Escape the text line by line, because Plotly interprets some HTML."""
    return "<br>".join([bold(label), *(html.escape(line) for line in textwrap.wrap(shortened(text), 60))])
