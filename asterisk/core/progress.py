"""Progress of long work: a bar on a terminal, an occasional line in a log."""

import sys
from typing import Any

from tqdm.auto import tqdm

# Seconds before the first log line and between lines; shorter work logs nothing.
LOG_SECONDS = 30.0
LOG_LINE = "{desc}: {n} of {total}{unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left"
LOG_LINE_WITHOUT_TOTAL = "{desc}: {n}{unit}, {rate_fmt}, {elapsed} elapsed"


def progress_bar(desc: str, unit: str, total: int | None = None, initial: int = 0, shown: bool = True) -> tqdm:
    """Create a progress bar; `update(n)` reports n more items.

    Args:
        desc: A label for the work.
        unit: The name of the items, in the plural.
        total: The number of items, if known.
        initial: The number of items already done.
        shown: Whether to show the bar; set it on one rank only.
    """
    options: dict[str, Any] = {"desc": desc, "unit": f" {unit}", "total": total, "initial": initial}
    if not shown or sys.stderr.isatty():
        return tqdm(**options, disable=not shown)
    line = LOG_LINE if total is not None else LOG_LINE_WITHOUT_TOTAL
    times = {"mininterval": LOG_SECONDS, "maxinterval": LOG_SECONDS, "delay": LOG_SECONDS}
    return tqdm(**options, file=_Lines(), bar_format=line, **times)


class _Lines:
    """A stream that prints each update of tqdm as a new line."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
