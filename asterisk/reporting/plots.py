"""Colours, style and common elements of the plots on the HTML pages."""

import html
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.io import to_html

# Two colours that colour-blind readers can distinguish (Okabe and Ito 2008), and a grey.
FIRST, SECOND, NEUTRAL = "#0072B2", "#E69F00", "#8C939B"
# Tableau's palette of ten.
CLASS_COLOURS = (
    *("#4E79A7", "#F28E2B", "#E15759", "#59A14F", "#B07AA1"),
    *("#9C755F", "#EDC948", "#FF9DA7", "#76B7B2", "#BAB0AC"),
)


@dataclass
class Plot:
    """A plot of a page: its heading, a sentence that explains how to read it, and its HTML."""

    title: str
    note: str
    figure: str


def plot_html(figure: go.Figure, name: str, height: int) -> str:
    """Render a figure as an HTML fragment in the common style, which replaces its legend, margins and fonts.

    Args:
        figure: The figure.
        name: The id of its element in the page.
        height: The height in pixels; the width follows the page.
    """
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#22272e"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    return to_html(
        figure, config=config, include_plotlyjs=False, full_html=False, default_height=f"{height}px", div_id=name
    )


def add_diagonal(figure: go.Figure, low: float, high: float, colour: str = NEUTRAL) -> None:
    """Add the dashed line on which both axes agree."""
    line = {"color": colour, "dash": "dash"}
    ends = [low, high]
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip")


def bold(text: str) -> str:
    """Return the text, escaped and in bold, for Plotly's labels and hover texts."""
    return f"<b>{html.escape(text)}</b>"
