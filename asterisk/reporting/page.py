"""The frame, style and tables of the HTML pages; a page needs no other file and no network."""

import html
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from plotly.offline import get_plotlyjs

SHOWN_CHARACTERS = 240


class Card(NamedTuple):
    """A headline figure of a page."""

    value: str
    name: str
    note: str


@dataclass
class Table:
    """A table of plain text, for HTML pages and Markdown files.

    `align` has one letter per column: "l" for text, "r" for numbers. A page shows the rows at `bold_rows` in bold.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    bold_rows: Collection[int] = ()

    def markdown(self) -> str:
        """Return the table as Markdown, with long cells shortened."""
        rules = ["---:" if letter == "r" else "---" for letter in self.align]
        head, *rows = [[markdown_text(cell) for cell in row] for row in (self.head, *self.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def render_page(template: Path, **content: Any) -> str:
    """Render a Jinja template that extends `page.html`; it can import the macros of `macros.html`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"short": shortened, "percent": percent}
    return environment.get_template(template.name).render(plotly=get_plotlyjs(), **content)


def markdown_text(text: str) -> str:
    """Return the text on one line, shortened, and escaped so that Markdown shows it literally."""
    escaped = html.escape(shortened(text), quote=False)
    return "".join("\\" + character if character in "\\|`*_[]" else character for character in escaped)


def shortened(text: str) -> str:
    """Return the text, cut after a word if it is longer than `SHOWN_CHARACTERS`."""
    return textwrap.shorten(text, SHOWN_CHARACTERS, placeholder=" …") if len(text) > SHOWN_CHARACTERS else text


def percent(share: float | None) -> str:
    """Format a share from 0 to 1 as a percentage, or None as a dash."""
    return "–" if share is None else f"{share:.1%}"
