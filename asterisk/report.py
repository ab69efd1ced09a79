"""The agreement report: what a student keeps of its teacher, as JSON, as Markdown and as a page with plots."""

import html
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from asterisk.agreement import Agreement, Band, Histogram
from asterisk.cli import UserError
from asterisk.manifest import appearing_folder, write_json
from asterisk.page import FIRST, NEUTRAL, SECOND, Plot, bold, percent, plot_html, render_page, shortened
from asterisk.retention import Retention

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDENT, TEACHER, OTHER = FIRST, SECOND, NEUTRAL
# Tableau's ten, which stay apart for most eyes.
CLASS_COLOURS = (
    *("#4E79A7", "#F28E2B", "#E15759", "#59A14F", "#B07AA1"),
    *("#9C755F", "#EDC948", "#FF9DA7", "#76B7B2", "#BAB0AC"),
)
# Enough to see the classes by; t-SNE takes a minute of more.
MAP_TEXTS = 1_000
FILES = {"report.json", "report.md", "report.html", "comparison.png"}


@dataclass
class ComparedModel:
    """One model's quality (mean main score × 100), speed and size on disk in bytes."""

    name: str
    score: float
    sentences_per_second: float
    bytes: int


@dataclass
class EmbeddingMap:
    """The same texts in two dimensions, twice; both of shape (texts, 2)."""

    texts: list[str]
    labels: list[str]
    student: np.ndarray
    teacher: np.ndarray
    caption: str


def embedding_map(
    student_vectors: np.ndarray,
    teacher_vectors: np.ndarray,
    texts: Sequence[str],
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> EmbeddingMap:
    """Lays out texts by t-SNE of their cosines (van der Maaten and Hinton 2008), for the student and for the teacher.

    Both layouts start from the teacher's two principal components, so that like lies in like places. Of more than ten
    labels the ten most frequent are drawn, and of more than `MAP_TEXTS` texts a sample. Texts without labels are
    coloured by their cluster: eight, by k-means on the teacher's vectors.

    Args:
        student_vectors: (texts, student's dimensions).
        teacher_vectors: (texts, teacher's dimensions).
        texts: At least 12.
        labels: One for each text.
        seed: Of the sample, the layout and the clusters.

    Raises:
        UserError: There are too few texts.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    frequent = [label for label, _ in Counter(labels or []).most_common(len(CLASS_COLOURS))]
    rows = np.array([row for row in range(len(texts)) if labels is None or labels[row] in frequent], dtype=int)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAP_TEXTS])
    if len(rows) < 12:
        raise UserError(f"A map needs at least 12 texts, but there are {len(rows)}.")
    student, teacher = (normalize(np.asarray(part, dtype=float)[rows]) for part in (student_vectors, teacher_vectors))
    if labels is None:
        clusters = KMeans(8, n_init=1, random_state=seed).fit_predict(teacher)
        shown = [f"cluster {cluster + 1}" for cluster in clusters]
        caption = f"{len(rows):,} texts, coloured by k-means cluster of the teacher's vectors"
    else:
        shown = [labels[row] for row in rows]
        classes = len(set(labels))
        caption = f"{len(rows):,} texts of {classes} classes" + (
            f", the {len(frequent)} most frequent drawn" if classes > len(frequent) else ""
        )
    start = PCA(2, random_state=seed).fit_transform(teacher)
    layout = TSNE(
        init=1e-4 * start / start[:, 0].std(), perplexity=min(30, (len(rows) - 1) / 3), max_iter=500, random_state=seed
    )
    return EmbeddingMap(
        [texts[row] for row in rows], shown, layout.fit_transform(student), layout.fit_transform(teacher), caption
    )


def write_report(
    folder: Path,
    student: str,
    teacher: str,
    agreement: Agreement | None = None,
    retentions: Sequence[Retention] = (),
    space: EmbeddingMap | None = None,
    compared: Sequence[ComparedModel] = (),
) -> None:
    """Writes `report.json`, `report.md`, `report.html`, and `comparison.png` if there are models to compare.

    The page needs nothing else: no network, no file beside it. A part that is not given is left out.

    Args:
        folder: Made if need be; a report that is there is replaced.
        student: What to call the student.
        teacher: What to call the teacher.
        agreement: On held-out text.
        retentions: Of tasks and groups.
        space: A map of the embedding space.
        compared: Models to draw by quality and speed.

    Raises:
        UserError: The folder holds something else, or cannot be written to; then it stays as it was.
    """
    foreign = sorted({path.name for path in folder.iterdir()} - FILES) if folder.is_dir() else []
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which is no part of a report; give the report its own folder.")
    content = {
        "student": student,
        "teacher": teacher,
        "retention": [asdict(line) for line in retentions],
        "agreement": asdict(agreement) if agreement else None,
        "compared": [asdict(model) for model in compared],
    }
    page = _page(student, teacher, agreement, retentions, space, compared)
    text = report_markdown(student, teacher, agreement, retentions, compared)
    with appearing_folder(folder) as temporary:
        write_json(temporary / "report.json", content)
        (temporary / "report.md").write_text(text, encoding="utf-8")
        (temporary / "report.html").write_text(page, encoding="utf-8")
        if compared:
            comparison_figure(compared).savefig(temporary / "comparison.png", dpi=150)


# --- Markdown --------------------------------------------------------------------------------------------------------


def report_markdown(
    student: str,
    teacher: str,
    agreement: Agreement | None = None,
    retentions: Sequence[Retention] = (),
    compared: Sequence[ComparedModel] = (),
) -> str:
    """The report's numbers as Markdown; see [`write_report`]."""
    parts = [f"# {_cell(student)} beside its teacher {_cell(teacher)}"]
    if retentions:
        parts += ["## Retention of benchmark scores", retention_table(retentions)]
    if compared:
        parts += ["## Quality and speed", comparison_table(compared), "![Quality and speed](comparison.png)"]
    if agreement:
        parts += ["## Agreement on held-out text", _table(["measure", "student", "teacher"], _measures(agreement))]
        head = ["texts", "cosine", "5–95 %", f"overlap of {agreement.neighbours} neighbours", "count"]
        parts += ["### By length in tokens", _table(head, map(_band_cells, agreement.by_length))]
        parts += ["### By rarity of tokens, in quarters", _table(head, map(_band_cells, agreement.by_rarity))]
        if agreement.differing_texts:
            parts += [
                "### Texts that differ most",
                _table(
                    ["cosine", "text", "nearest to the student", "nearest to the teacher"],
                    (
                        [f"{line.cosine:.3f}", line.text, line.student_nearest, line.teacher_nearest]
                        for line in agreement.differing_texts
                    ),
                ),
            ]
        parts += [
            "### Pairs whose similarity differs most",
            _table(
                ["student", "teacher", "text", "text"],
                (
                    [f"{pair.student:.3f}", f"{pair.teacher:.3f}", pair.first, pair.second]
                    for pair in agreement.differing_pairs
                ),
            ),
        ]
    return "\n\n".join(parts) + "\n"


def retention_table(retentions: Sequence[Retention]) -> str:
    """Tasks and groups with both scores, the share kept and its interval, as a Markdown table."""
    rows = []
    for line in retentions:
        name = f"mean of {line.name}" if line.is_group else line.name
        scores = [f"{line.student:.2f}", f"{line.teacher:.2f}"]
        rows.append([name, *scores, percent(line.retention), _interval(line), line.interval])
    return _table(["task", "student", "teacher", "retention", "95 % interval", "interval from"], rows)


def comparison_table(compared: Sequence[ComparedModel]) -> str:
    """The models' quality, speed and size as a Markdown table."""
    rows = (
        [model.name, f"{model.score:.2f}", f"{model.sentences_per_second:,.0f}", _size(model)] for model in compared
    )
    return _table(["model", "mean score", "sentences/s", "on disk"], rows)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [[_cell(cell) for cell in head], ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    shown = html.escape(shortened(text), quote=False)
    return "".join("\\" + character if character in "\\|`*_[]" else character for character in shown)


def _measures(agreement: Agreement) -> list[list[str]]:
    """Rows of measure, student's value, teacher's value; a value that belongs to both stands first."""
    rows = [["texts", f"{agreement.texts:,}", ""]]
    rows += [["dimensions", str(agreement.student_dimensions), str(agreement.teacher_dimensions)]]
    if agreement.cosines:
        rows += [["cosine to the teacher, mean", f"{agreement.cosines.mean:.4f}", ""]]
        percentiles = agreement.cosines.percentiles
        names = ", ".join(name.removeprefix("p") for name in percentiles)
        rows += [[f"its percentiles {names}", ", ".join(f"{value:.3f}" for value in percentiles.values()), ""]]
    rows += [["cosines are in", agreement.cosine_space, ""]]
    rows += [["Spearman of pairwise similarities", f"{agreement.similarity_spearman:.4f}", ""]]
    rows += [["random pairs", f"{agreement.sampled_pairs:,}", ""]]
    rows += [[f"overlap of the {agreement.neighbours} nearest neighbours", f"{agreement.neighbour_overlap:.1%}", ""]]
    for name, values in (("uniformity", agreement.uniformity), ("anisotropy", agreement.anisotropy)):
        rows += [[name, f"{values['student']:.4f}", f"{values['teacher']:.4f}"]]
    return rows


def _band_cells(band: Band) -> list[str]:
    cosine = ["–", "–"]
    if band.cosine is not None:
        cosine = [f"{band.cosine:.3f}", f"{band.cosine_p5:.3f}–{band.cosine_p95:.3f}"]
    return [band.name, *cosine, f"{band.neighbour_overlap:.1%}", f"{band.texts:,}"]


def _interval(line: Retention) -> str:
    return "–" if line.low is None else f"{percent(line.low)}–{percent(line.high)}"


def _size(model: ComparedModel) -> str:
    return f"{model.bytes / 1e6:,.1f} MB"


# --- Quality against speed -------------------------------------------------------------------------------------------


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
            label=f"{model.name} ({_size(model)})",
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


# --- Plots of the page -----------------------------------------------------------------------------------------------


def _page(
    student: str,
    teacher: str,
    agreement: Agreement | None,
    retentions: Sequence[Retention],
    space: EmbeddingMap | None,
    compared: Sequence[ComparedModel],
) -> str:
    return render_page(
        "report.html",
        student=student,
        teacher=teacher,
        cards=_cards(agreement, retentions),
        retentions=retentions,
        interval=_interval,
        retention_plot=_retention_plot(retentions) if any(line.retention for line in retentions) else None,
        compared=compared,
        size=_size,
        comparison_plot=_comparison_plot(compared) if compared else None,
        agreement=agreement,
        plots=_agreement_plots(agreement) if agreement else [],
        measures=_measures(agreement) if agreement else [],
        space=space,
        legend=_class_colours(space.labels) if space else {},
        maps=[("Student", _map_plot(space, "student")), ("Teacher", _map_plot(space, "teacher"))] if space else [],
    )


def _cards(agreement: Agreement | None, retentions: Sequence[Retention]) -> list[tuple[str, str, str]]:
    """The head figures: value, what it is, and what stands beside it."""
    groups = [line for line in retentions if line.is_group and line.retention is not None]
    cards = [
        (
            percent(line.retention),
            f"of the teacher's score, {line.name}",
            f"{line.student:.2f} of {line.teacher:.2f}"
            + (f"; 95 %: {_interval(line)}" if line.low is not None else ""),
        )
        for line in groups
    ]
    if agreement is None:
        return cards
    if agreement.cosines:
        percentiles = agreement.cosines.percentiles
        beside = f"5–95 % of texts: {percentiles['p5']:.3f}–{percentiles['p95']:.3f}"
        cards.append((f"{agreement.cosines.mean:.3f}", "mean cosine to the teacher", beside))
    cards += [
        (
            f"{agreement.similarity_spearman:.3f}",
            "Spearman of pairwise similarities",
            f"{agreement.sampled_pairs:,} random pairs",
        ),
        (
            percent(agreement.neighbour_overlap),
            f"of the {agreement.neighbours} nearest neighbours shared",
            f"among {agreement.texts:,} held-out texts",
        ),
    ]
    for name, values, better in (
        ("uniformity", agreement.uniformity, "lower is more even"),
        ("anisotropy", agreement.anisotropy, "0: no common direction"),
    ):
        cards.append((f"{values['student']:.2f}", name, f"teacher {values['teacher']:.2f}; {better}"))
    return cards


def _agreement_plots(agreement: Agreement) -> list[Plot]:
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


def _retention_plot(retentions: Sequence[Retention]) -> str:
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


def _comparison_plot(compared: Sequence[ComparedModel]) -> str:
    figure = go.Figure()
    for index, (model, diameter) in enumerate(zip(compared, _diameters(compared), strict=True)):
        figure.add_scatter(
            x=[model.sentences_per_second],
            y=[model.score],
            mode="markers",
            name=html.escape(model.name),
            marker={"size": diameter, "color": CLASS_COLOURS[index % len(CLASS_COLOURS)], "opacity": 0.75},
            hovertext=html.escape(
                f"{model.name}: {model.score:.2f}, {model.sentences_per_second:,.0f} sentences/s, {_size(model)}"
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


def _map_plot(space: EmbeddingMap, model: str) -> str:
    points = space.student if model == "student" else space.teacher
    figure = go.Figure()
    for label, colour in _class_colours(space.labels).items():
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


def _class_colours(labels: Sequence[str]) -> dict[str, str]:
    """Each label's colour, the labels in the order of their names."""
    return dict(zip(sorted(set(labels)), CLASS_COLOURS, strict=False))


def _hover(text: str, label: str) -> str:
    """Plotly reads some HTML in what it shows, so the text is escaped, line by line."""
    return "<br>".join([bold(label), *(html.escape(line) for line in textwrap.wrap(shortened(text), 60))])
