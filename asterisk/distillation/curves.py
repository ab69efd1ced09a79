"""The measurements of a run, as data and as a plot."""

import json
from pathlib import Path
from typing import Any

from asterisk.core.files import atomic_file, report_write_errors, write_text

Point = dict[str, Any]
"""One measurement: step, loss, scores (name → value), learning_rate, sentences_per_second, seconds."""


def read_curves(path: Path) -> list[Point]:
    """Return the points of a run in order; a last line that a crash truncated is dropped."""
    points = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            points.append(json.loads(line))
        except ValueError:
            break
    return points


def write_curves(points: list[Point], path: Path) -> None:
    """Replace the points of a run."""
    write_text(path, "".join(json.dumps(point) + "\n" for point in points))


def append_point(point: Point, path: Path) -> None:
    """Append one point."""
    with report_write_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(point) + "\n")


def describe_point(point: Point, num_steps: int) -> str:
    """Format a point as a line of text."""
    numbers = {"loss": point["loss"], **point["scores"]}
    described = "   ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    speed = f"{point['sentences_per_second']:,.0f} sentences/s"
    return f"step {point['step']:,} of {num_steps:,}   {described}   {speed}   {point['seconds']:.0f} s"


def plot_curves(points: list[Point], path: Path) -> None:
    """Plot the loss over the steps, and every score in a panel below it."""
    from matplotlib.figure import Figure

    names = list(points[-1]["scores"]) if points else []
    figure = Figure(figsize=(8, 3 + 2 * len(names)), layout="constrained")
    panels = figure.subplots(1 + len(names), sharex=True, squeeze=False)[:, 0]
    steps = [point["step"] for point in points]
    panels[0].plot(steps, [point["loss"] for point in points], color="tab:orange", marker=".")
    panels[0].set(ylabel="training loss", title="Distillation")
    for panel, name in zip(panels[1:], names, strict=True):
        panel.plot(steps, [point["scores"].get(name) for point in points], color="tab:blue", marker=".")
        panel.set(ylabel="agreement\n(held-out cosine)" if name == "agreement" else name)
    for panel in panels:
        panel.grid(alpha=0.3)
    panels[-1].set(xlabel="step")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
