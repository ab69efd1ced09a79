"""The plots of the agreement report: for its page, and quality against speed as a picture too."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from asterisk.evaluation.agreement import Agreement, Band, Histogram
from asterisk.evaluation.embedding_map import EmbeddingMap
from asterisk.evaluation.retention import Retention
from asterisk.reporting.page import shortened
from asterisk.reporting.plots import CLASS_COLOURS, FIRST, NEUTRAL, SECOND, Plot, bold, plot_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDENT, TEACHER, OTHER = FIRST, SECOND, NEUTRAL


@dataclass
class ComparedModel:
    """One model's quality (mean main score × 100), speed and size on disk in bytes."""

    name: str
    score: float
    sentences_per_second: float
    bytes: int


def size_on_disk(model: ComparedModel) -> str:
    """In megabytes."""
    return f"{model.bytes / 1e6:,.1f} MB"


def comparison_figure(compared: Sequence[ComparedModel]) -> "Figure":
    """Quality against speed, a disc for each model whose area grows with its size on disk; to save as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    colours = [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(len(compared))]
    for model, colour, diameter in zip(compared, colours, _diameters(compared), strict=True):
        axes.scatter(
            model.sentences_per_second,
            model.score,
            s=diameter**2,
            color=colour,
            alpha=0.75,
            label=f"{model.name} ({size_on_disk(model)})",
        )
    scores = [model.score for model in compared]
    room = max(1.0, 0.25 * (max(scores) - min(scores)))
    axes.set(
        xscale="log",
        xlim=_speed_range(compared),
        ylim=(min(scores) - room, max(scores) + room),
        xlabel="sentences per second",
        ylabel="mean score",
    )
    axes.set_xticks(_speed_ticks(compared))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    # The legend's discs are all of one size: those of the plot would not fit in.
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False, title="area: size on disk")
    for handle in legend.legend_handles:
        handle.set_sizes([70])  # type: ignore[union-attr]
    return figure


def _speed_range(compared: Sequence[ComparedModel]) -> tuple[float, float]:
    speeds = [model.sentences_per_second for model in compared]
    return min(speeds) / 2, max(speeds) * 2


def _speed_ticks(compared: Sequence[ComparedModel]) -> list[int]:
    """Powers of ten; in a short range, which may hold none, also two and five times those."""
    low, high = _speed_range(compared)
    steps = (1,) if high / low > 100 else (1, 2, 5)
    return [step * 10**power for power in range(9) for step in steps if low <= step * 10**power <= high]


def _diameters(compared: Sequence[ComparedModel]) -> list[float]:
    """In points: areas as the sizes, the largest 45 across, none so small that it is not seen."""
    largest = max(model.bytes for model in compared)
    return [max(8.0, 45 * (model.bytes / largest) ** 0.5) for model in compared]


def agreement_plots(agreement: Agreement) -> list[Plot]:
    """How student and teacher agree on held-out text."""
    plots = [
        Plot(
            "Similarity of pairs",
            "Each dot is a pair of texts; on the line both models agree.",
            plot_html(_pair_scatter(agreement), "pairs", 430),
        ),
        Plot(
            "Similarities of random pairs",
            "A model whose random pairs lie far from 0 uses few of its directions.",
            plot_html(_histograms(agreement.similarities, "cosine of two random texts", "pairs"), "similarities", 430),
        ),
    ]
    if agreement.cosines:
        figure = _histograms({"student": agreement.cosines.histogram}, "cosine to the teacher's vector", "texts")
        plots.append(
            Plot("Cosine to the teacher", f"In {agreement.cosine_space}.", plot_html(figure, "cosines", 380)),
        )
    note = "Dot: mean, with the 5th to 95th percentile of the cosines; diamond: share of nearest neighbours in common."
    if agreement.cosines is None:
        note = "Diamond: share of nearest neighbours in common."
    plots += [
        Plot("By length in tokens", note, plot_html(_band_plot(agreement.by_length), "length", 380)),
        Plot("By rarity of tokens, in quarters", note, plot_html(_band_plot(agreement.by_rarity), "rarity", 380)),
    ]
    return plots


def retention_plot(retentions: Sequence[Retention]) -> str:
    """Bars of the shares of the teacher's scores, with their intervals, as HTML."""
    shown = [line for line in retentions if line.retention is not None]
    # Drawn from below.
    shown.reverse()
    shares = [100 * (line.retention or 0) for line in shown]
    figure = go.Figure(
        go.Bar(
            x=shares,
            y=[bold(line.name) if line.is_group else html.escape(line.name) for line in shown],
            orientation="h",
            marker_color=[STUDENT if line.is_group else "#7FB3D5" for line in shown],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [line.high and 100 * line.high - share for line, share in zip(shown, shares, strict=True)],
                "arrayminus": [line.low and share - 100 * line.low for line, share in zip(shown, shares, strict=True)],
                "color": "#22272e",
                "thickness": 2,
                # Without caps, for a bar without an interval would show them.
                "width": 0,
            },
            hovertext=[
                html.escape(f"{line.name}: {line.student:.2f} of {line.teacher:.2f}; {line.interval}")
                for line in shown
            ],
            hoverinfo="text",
        )
    )
    figure.add_vline(x=100, line={"color": TEACHER, "dash": "dash"})
    highest = max(*shares, *(100 * (line.high or 0) for line in shown))
    figure.update_xaxes(title="% of the teacher's score", range=[0, max(105, highest + 3)])
    return plot_html(figure, "retention", 110 + 26 * len(shown))


def comparison_plot(compared: Sequence[ComparedModel]) -> str:
    """Quality against speed, as HTML; see [`comparison_figure`]."""
    figure = go.Figure()
    for index, (model, diameter) in enumerate(zip(compared, _diameters(compared), strict=True)):
        figure.add_scatter(
            x=[model.sentences_per_second],
            y=[model.score],
            mode="markers",
            name=html.escape(model.name),
            marker={"size": diameter, "color": CLASS_COLOURS[index % len(CLASS_COLOURS)], "opacity": 0.75},
            hovertext=html.escape(
                f"{model.name}: {model.score:.2f}, {model.sentences_per_second:,.0f} sentences/s, "
                f"{size_on_disk(model)}"
            ),
            hoverinfo="text",
        )
    ticks = _speed_ticks(compared)
    figure.update_xaxes(
        title="sentences per second",
        type="log",
        range=np.log10(_speed_range(compared)).tolist(),
        tickvals=ticks,
        ticktext=[f"{tick:,}" for tick in ticks],
    )
    figure.update_yaxes(title="mean score")
    figure.update_layout(legend={"itemsizing": "constant"})
    return plot_html(figure, "comparison", 460)


def _pair_scatter(agreement: Agreement) -> go.Figure:
    figure = go.Figure()
    for name, pairs, colour in (
        ("random pairs", agreement.random_pairs, OTHER),
        ("nearest neighbours of either", agreement.near_pairs, STUDENT),
    ):
        figure.add_scatter(
            x=[teacher for _, teacher in pairs],
            y=[student for student, _ in pairs],
            mode="markers",
            name=name,
            marker={"size": 4, "color": colour, "opacity": 0.45},
            hovertemplate="teacher %{x:.3f}<br>student %{y:.3f}<extra></extra>",
        )
    low = min((value for pair in agreement.random_pairs + agreement.near_pairs for value in pair), default=0.0)
    figure.add_scatter(
        x=[low, 1],
        y=[low, 1],
        mode="lines",
        line={"color": TEACHER, "dash": "dash"},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(title="teacher's cosine")
    figure.update_yaxes(title="student's cosine")
    figure.update_layout(legend={"itemsizing": "constant"})
    return figure


def _histograms(histograms: dict[str, Histogram], title: str, what: str) -> go.Figure:
    figure = go.Figure()
    for name, histogram in histograms.items():
        edges = np.array(histogram.edges)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=100 * np.array(histogram.counts) / sum(histogram.counts),
            width=np.diff(edges),
            name=name,
            marker={"color": STUDENT if name == "student" else TEACHER, "opacity": 0.6, "line": {"width": 0}},
            hovertemplate="around %{x:.2f}: %{y:.1f} %<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="overlay", showlegend=len(histograms) > 1)
    figure.update_xaxes(title=title)
    figure.update_yaxes(title=f"% of {what}")
    return figure


def _band_plot(bands: Sequence[Band]) -> go.Figure:
    names = [f"{band.name}<br>n = {band.texts:,}" for band in bands]
    figure = go.Figure()
    if all(band.cosine is not None for band in bands):
        means = np.array([band.cosine for band in bands], dtype=float)
        figure.add_scatter(
            x=names,
            y=means,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": np.array([band.cosine_p95 for band in bands], dtype=float) - means,
                "arrayminus": means - np.array([band.cosine_p5 for band in bands], dtype=float),
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
        marker={"size": 11, "symbol": "diamond", "color": "#009E73"},
        hovertemplate="%{y:.1%} of the neighbours<extra></extra>",
    )
    lowest = min(band.neighbour_overlap if band.cosine_p5 is None else band.cosine_p5 for band in bands)
    figure.update_yaxes(range=[min(0.0, lowest - 0.03), 1.03])
    figure.update_xaxes(type="category")
    return figure


def map_plot(space: EmbeddingMap, model: str) -> str:
    """The map of one of the two models, "student" or "teacher", as HTML."""
    points = space.student if model == "student" else space.teacher
    figure = go.Figure()
    for label, colour in class_colours(space.labels).items():
        rows = [row for row, other in enumerate(space.labels) if other == label]
        figure.add_scatter(
            x=np.round(points[rows, 0], 4),
            y=np.round(points[rows, 1], 4),
            mode="markers",
            name=html.escape(label),
            marker={"size": 5, "color": colour, "opacity": 0.8},
            hovertext=[_hover(space.texts[row], label) for row in rows],
            hoverinfo="text",
        )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(showticklabels=False, showgrid=False, zeroline=False, showline=True, linecolor="#d0d7de", mirror=True)
    figure.update_layout(showlegend=False)
    return plot_html(figure, f"map-{model}", 460)


def class_colours(labels: Sequence[str]) -> dict[str, str]:
    """Each label's colour, the labels in the order of their names."""
    return dict(zip(sorted(set(labels)), CLASS_COLOURS, strict=False))


def _hover(text: str, label: str) -> str:
    """Plotly reads some HTML in what it shows, so the text is escaped, line by line."""
    return "<br>".join([bold(label), *(html.escape(line) for line in textwrap.wrap(shortened(text), 60))])
