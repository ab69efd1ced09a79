"""A head's report as a page with plots, which needs no other file."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asterisk.reporting.page import render_page
from asterisk.reporting.plots import FIRST, NEUTRAL, SECOND, Plot, plot_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

# More classes cannot be told apart on a screen; of them, those that are confused most are drawn.
DRAWN_CLASSES = 40
SHOWN_CHARACTERS_OF_LABEL = 28
NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "pearson": "Pearson", "spearman": "Spearman"}


def head_page(report: dict[str, Any]) -> str:
    """The page of a report as train_head.py writes it to report.json."""
    plots = []
    if calibration := report.get("calibration"):
        split = report["detail"]
        note = f"On {split}: a point on the dashed line is a group of texts that are right as often as they seem sure."
        plots.append(Plot("Reliability", note, plot_html(_reliability_plot(calibration[split]), "reliability", 420)))
    if len(report.get("learning_curve") or []) > 1:
        plots.append(
            Plot(
                "Learning curve",
                "What fewer training texts reach: a rising end says that more would help.",
                plot_html(_curve_plot(report["learning_curve"]), "curve", 420),
            )
        )
    saved = report["repeats"][report["saved_repeat"]]
    if len(saved["losses"]) > 1:
        note = "The weights of the lowest are kept."
        plots.append(Plot("Development loss", note, plot_html(_loss_plot(saved["losses"]), "losses", 420)))
    confusion = None
    if matrix := report.get("confusion"):
        names = _most_confused(matrix, [line["label"] for line in report["classes"]])
        note = "Rows: the label; columns: what was predicted. Hover for counts."
        if len(names) < len(report["classes"]):
            note += f" Of {len(report['classes'])} labels the {len(names)} that are confused most."
        figure = _confusion_plot(matrix, names)
        confusion = Plot("Confusion", note, plot_html(figure, "confusion", max(420, 190 + 21 * len(names))))
    return render_page(
        Path(__file__).with_name("report.html"),
        report=report,
        cards=_cards(report),
        decisions={"thresholds": None, "criterion": None, **(report.get("decisions") or {})},
        splits=list(report["data"]),
        splits_note=_temperature_note(report),
        measures=_measures(report),
        plots=plots,
        confusion=confusion,
        none_names=_none_names(report.get("none") or {}),
        number=lambda value: "–" if value is None else f"{value:.2f}",
    )


def _cards(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The head figures: value, what it is, and what stands beside it."""
    saved, cards = report["repeats"][report["saved_repeat"]], []
    split = "test" if saved["test"] else "development"
    several = len(report["repeats"])
    for name, value in (saved[split] or {}).items():
        beside = f"{report['data'][split]['texts']:,} texts"
        if several > 1:
            own = report["mean"][split][name]
            beside += f"; mean of {several}: {own['mean']:.2f} ± {own['deviation']:.2f}"
        cards.append(("–" if value is None else f"{value:.2f}", f"{NAMES[name]} on {split}", beside))
    if calibration := report.get("calibration"):
        own = calibration[split]
        beside = f"{100 * own['before']['error']:.1f} % before temperature scaling"
        cards.append((f"{100 * own['after']['error']:.1f} %", f"calibration error on {split}", beside))
    if latency := report.get("latency"):
        beside = f"{latency['in_batch_ms']:.2f} ms in a batch of {latency['batch']}; {latency['device']}"
        cards.append((f"{latency['one_text_ms']:.1f} ms", "for one text", beside))
    cards.append((f"{saved['seconds']:.1f} s", "of training", f"{saved['texts']:,} texts, {saved['passes']:g} passes"))
    return cards


def _temperature_note(report: dict[str, Any]) -> str:
    decisions = report.get("decisions") or {}
    if not decisions:
        return "Without development texts nothing was calibrated."
    return f"Outputs are divided by a temperature of {decisions['temperature']:.3f}, fitted on development."


def _measures(report: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of a measure's name and its values, one for each split."""
    saved, splits = report["repeats"][report["saved_repeat"]], report["data"]
    calibration = report.get("calibration") or {}
    rows = [
        ("texts", [f"{part['texts']:,}" for part in splits.values()]),
        ("truncated", [f"{part['truncated']:.1%}" for part in splits.values()]),
    ]
    for name in saved["development"] or saved["test"] or {}:
        values = [(saved.get(split) or {}).get(name) for split in splits]
        rows.append((NAMES[name], ["" if value is None else f"{value:.2f}" for value in values]))
    for key in ("before", "after") if calibration else ():
        errors = [f"{100 * calibration[split][key]['error']:.2f}" if split in calibration else "" for split in splits]
        rows.append((f"calibration error {key} scaling, %", errors))
    return rows


def _none_names(none: dict[str, Any]) -> dict[str, str]:
    names = {"share": "given a label, %", "accuracy": "of these right, %", "macro_f1": "macro-F1 with none"}
    names |= {"none_recall": "none found, %"}
    return {key: name for key, name in names.items() if any(key in own for own in none.values())}


def _reliability_plot(calibration: dict[str, Any]) -> "go.Figure":
    import plotly.graph_objects as go  # takes a moment to import

    figure = go.Figure()
    line = {"color": NEUTRAL, "dash": "dash"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, showlegend=False, hoverinfo="skip")
    for key, colour in (("before", SECOND), ("after", FIRST)):
        own = calibration[key]
        sizes = np.sqrt(np.array(own["counts"]) / max(own["counts"]))
        figure.add_scatter(
            x=own["confidence"],
            y=own["accuracy"],
            mode="lines+markers",
            name=f"{key} scaling: error {100 * own['error']:.1f} %",
            line={"color": colour},
            marker={"color": colour, "size": (5 + 13 * sizes).tolist(), "opacity": 0.8},
            customdata=own["counts"],
            hovertemplate="sure by %{x:.2f}, right %{y:.2f}<br>%{customdata:,} decisions<extra></extra>",
        )
    figure.update_xaxes(title="probability given", range=[-0.02, 1.05])
    figure.update_yaxes(title="share that is right", range=[-0.02, 1.05])
    return figure


def _curve_plot(curve: Sequence[dict[str, Any]]) -> "go.Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    texts = [line["texts"] for line in curve]
    for name, colour in zip([name for name in curve[0] if name != "texts"], (FIRST, SECOND), strict=True):
        figure.add_scatter(
            x=texts,
            y=[line[name] for line in curve],
            mode="lines+markers",
            name=NAMES[name],
            line={"color": colour},
            marker={"size": 9},
            hovertemplate="%{x:,} texts: %{y:.2f}<extra>" + NAMES[name] + "</extra>",
        )
    figure.update_xaxes(title="training texts", type="log", tickvals=texts, ticktext=[f"{count:,}" for count in texts])
    figure.update_yaxes(title="score × 100")
    return figure


def _loss_plot(losses: Sequence[float]) -> "go.Figure":
    import plotly.graph_objects as go

    best = int(np.argmin(losses))
    figure = go.Figure()
    passes = list(range(1, len(losses) + 1))
    figure.add_scatter(
        x=passes, y=losses, mode="lines+markers", line={"color": FIRST}, marker={"size": 5}, name="loss"
    )
    figure.add_scatter(
        x=[best + 1], y=[losses[best]], mode="markers", marker={"size": 13, "color": SECOND}, name="kept"
    )
    figure.update_xaxes(title="pass")
    figure.update_yaxes(title="development loss", rangemode="tozero")
    return figure


def _most_confused(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> list[str]:
    if len(names) <= DRAWN_CLASSES:
        return list(names)
    wrong = dict.fromkeys(names, 0)
    for own, line in matrix.items():
        for other, count in line.items():
            if own != other:
                wrong[own] += count
                wrong[other] += count
    chosen = set(sorted(names, key=lambda name: -wrong[name])[:DRAWN_CLASSES])
    return [name for name in names if name in chosen]


def _confusion_plot(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> "go.Figure":
    """Shares of each row, so that frequent labels do not outshine the others."""
    import plotly.graph_objects as go

    counts = np.array([[matrix.get(own, {}).get(other, 0) for other in names] for own in names])
    totals = np.array([sum(matrix.get(own, {}).values()) for own in names])
    ticks = [html.escape(_cut(name)) for name in names]
    texts = [[f"{count:,}" if count else "" for count in line] for line in counts.tolist()]
    places = list(range(len(names)))
    figure = go.Figure(
        go.Heatmap(
            z=(100 * counts / np.maximum(totals, 1)[:, None]).tolist(),
            x=places,
            y=places,
            text=texts,
            texttemplate="%{text}" if len(names) <= 20 else None,
            colorscale=[[0, "#ffffff"], [0.15, "#cfe3f1"], [1, FIRST]],
            zmin=0,
            zmax=100,
            xgap=1,
            ygap=1,
            customdata=[
                [[html.escape(own), html.escape(other), count] for other, count in zip(names, line, strict=True)]
                for own, line in zip(names, counts.tolist(), strict=True)
            ],
            hovertemplate="%{customdata[0]} taken for %{customdata[1]}: %{customdata[2]:,}, %{z:.1f} %<extra></extra>",
            colorbar={"title": {"text": "% of row", "side": "right"}, "thickness": 12},
        )
    )
    figure.update_xaxes(tickvals=places, ticktext=ticks, tickangle=-45, side="bottom", showgrid=False, zeroline=False)
    figure.update_yaxes(tickvals=places, ticktext=ticks, autorange="reversed", showgrid=False, zeroline=False)
    return figure


def _cut(name: str) -> str:
    return name if len(name) <= SHOWN_CHARACTERS_OF_LABEL else name[: SHOWN_CHARACTERS_OF_LABEL - 1] + "…"
