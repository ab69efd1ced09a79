"""Markdown tables that are also readable as plain text."""

from collections.abc import Sequence


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table with a header row; the first column is text, the others are numbers."""
    widths = [max(4, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    head, *lines = [
        " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = " | ".join("-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (head, rule, *lines))
