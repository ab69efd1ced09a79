"""The dial on the card: scores and speeds at each depth and number of dimensions, from benchmarks/dial.py."""

from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from asterisk.core.errors import UserError
from asterisk.core.files import read_json
from asterisk.core.markdown import aligned_table
from asterisk.reporting.plots import FIRST, NEUTRAL
from modeling_asterisk import AsteriskConfig

# The measures of a setting: the key in the record, the column's name and the format of its numbers.
COLUMNS = (
    ("layers", "layers", "d"),
    ("dimensions", "dimensions", "d"),
    ("sts7", "sts7", ".2f"),
    ("classification", "classification", ".2f"),
    ("retrieval", "SciFact", ".2f"),
    ("sentences_per_second", "sentences/s", ",.0f"),
    ("megabytes", "MB", ".1f"),
    ("bytes_per_vector", "bytes a vector", ",d"),
)


def read_dial(path: Path, config: AsteriskConfig) -> dict[str, Any]:
    """Read a model's record.

    Raises:
        UserError: The file is not such a record, or describes a model with other depths.
    """
    record = read_json(path)
    settings = record.get("settings") if isinstance(record, dict) else None
    if not settings or any(key not in setting for setting in settings for key, _, _ in COLUMNS):
        raise UserError(f"{path} is not a record of the dial; give dial.json of benchmarks/dial.py.")
    found = sorted({setting["layers"] for setting in settings})
    wanted = sorted([*(config.exit_layers or ()), config.num_hidden_layers])
    if found != wanted:
        raise UserError(f"{path} is about a model with the depths {found}, but this model has {wanted}.")
    return record


def dial_rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the head and the rows of the table."""
    rows = [
        ["" if setting[key] is None else format(setting[key], form) for key, _, form in COLUMNS]
        for setting in record["settings"]
    ]
    return [[name for _, name, _ in COLUMNS], *rows]


def dial_table(record: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    return aligned_table(dial_rows(record))


def plot_dial(record: dict[str, Any], path: Path) -> None:
    """Draw sts7 against sentences per second: a line through the depths per number of dimensions, and other models."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    settings = record["settings"]
    for index, size in enumerate(dict.fromkeys(setting["dimensions"] for setting in settings)):
        points = [setting for setting in settings if setting["dimensions"] == size]
        speeds, scores = ([point[key] for point in points] for key in ("sentences_per_second", "sts7"))
        axes.plot(speeds, scores, "o-", color=FIRST, alpha=0.75**index, label=f"{size} dimensions")
        for point in points if index == 0 else ():
            label = f"{point['layers']} {'layer' if point['layers'] == 1 else 'layers'}"
            position = point["sentences_per_second"], point["sts7"]
            axes.annotate(label, position, (7, 5), textcoords="offset points", weight="bold")
    for peer in record["peers"]:
        position = peer["sentences_per_second"], peer["sts7"]
        axes.plot(*position, "s", color=NEUTRAL)
        name = fill(peer["name"], 20)
        axes.annotate(name, position, (0, 9), textcoords="offset points", ha="center", va="bottom", fontsize=9)
    axes.legend(loc="lower left", frameon=False)
    axes.set(xscale="log", xlabel="sentences per second", ylabel="sts7 (Spearman × 100)")
    axes.set_title(f"Strings to embeddings on {record['machine']}", fontsize=10, loc="left")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(0.15, 0.2)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
