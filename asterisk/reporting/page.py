"""What our HTML pages share: their frame and style, and how plots stand in them. A page needs no other file."""

import html
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Colours that stay apart for most eyes (Okabe and Ito 2008), and a grey.
FIRST, SECOND, NEUTRAL = "#0072B2", "#E69F00", "#8C939B"
# Tableau's ten, which stay apart for most eyes.
CLASS_COLOURS = (
    *("#4E79A7", "#F28E2B", "#E15759", "#59A14F", "#B07AA1"),
    *("#9C755F", "#EDC948", "#FF9DA7", "#76B7B2", "#BAB0AC"),
)
SHOWN_CHARACTERS = 240


@dataclass
class Plot:
    """A plot of the page: its heading, one sentence on how to read it, and its HTML."""

    title: str
    note: str
    figure: str


def render_page(template: Path, **content: Any) -> str:
    """Renders a Jinja template that extends `page.html`, the frame beside this file."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"short": shortened, "percent": percent}
    return environment.get_template(template.name).render(plotly=get_plotlyjs(), **content)


def plot_html(figure: "go.Figure", name: str, height: int) -> str:
    """A plot as a part of a page, in the style of all our plots.

    Args:
        figure: The plot; its legend, margins and fonts are set here.
        name: Its id in the page.
        height: In pixels; it is as wide as there is room.
    """
    from plotly.io import to_html

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


def shortened(text: str) -> str:
    """The text, cut at a word if it is long."""
    return textwrap.shorten(text, SHOWN_CHARACTERS, placeholder=" …") if len(text) > SHOWN_CHARACTERS else text


def bold(text: str) -> str:
    """Text in bold, in what Plotly shows."""
    return f"<b>{html.escape(text)}</b>"


def percent(share: float | None) -> str:
    """A share from 0 to 1 as a percentage, a dash for None."""
    return "–" if share is None else f"{share:.1%}"
