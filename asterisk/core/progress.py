"""How far long work has got: a bar on a terminal, a plain line now and then in a log."""

import sys
from typing import Any

from tqdm.auto import tqdm

# Seconds between the lines of a log, and before the first: what is done sooner needs none.
LOG_SECONDS = 30.0
LOG_LINE = "{desc}: {n} of {total}{unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left"
LOG_LINE_OPEN = "{desc}: {n}{unit}, {rate_fmt}, {elapsed} elapsed"


def progress_bar(desc: str, unit: str, total: int | None = None, initial: int = 0, shown: bool = True) -> tqdm:
    """Shows how many of `total` things are done; `update(n)` says that n more are.

    Args:
        desc: What is being done.
        unit: What is counted, in the plural.
        total: How many there are, if that is known.
        initial: How many were done before.
        shown: False for all processes of a run but one.
    """
    options: dict[str, Any] = {"desc": desc, "unit": f" {unit}", "total": total, "initial": initial}
    if not shown or sys.stderr.isatty():
        return tqdm(**options, disable=not shown)
    line = LOG_LINE if total is not None else LOG_LINE_OPEN
    times = {"mininterval": LOG_SECONDS, "maxinterval": LOG_SECONDS, "delay": LOG_SECONDS}
    return tqdm(**options, file=_Lines(), bar_format=line, **times)


class _Lines:
    """Where tqdm may write what it would overwrite on a terminal."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
