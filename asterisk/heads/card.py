"""The model card of a classifier, filled from its report."""

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from asterisk.core.files import write_text
from asterisk.data.labels import MULTI, REGRESSION, SINGLE
from asterisk.heads.report import HeadReport
from asterisk.heads.tables import score_table

LISTED_LABELS = 20

TEMPLATE = """---
{{ card_data }}
---

# Text classifier on an Asterisk

{{ description }}

```python
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER_OR_ID", trust_remote_code=True)
print(classify("A text.", top_k=3))
```

{{ scores }}

{{ remarks }}
"""


def write_head_card(folder: Path, report: HeadReport, names: list[str]) -> None:
    """Write README.md into the folder of a classifier with the labels `names`."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["asterisk", "text-classification", "custom_code"],
    )
    listed = ", ".join(f"`{name}`" for name in names[:LISTED_LABELS]) + (", …" if len(names) > LISTED_LABELS else "")
    output = {
        SINGLE: f"It gives each text one of {len(names):,} labels",
        MULTI: f"It gives each text any of {len(names):,} labels",
        REGRESSION: "It predicts a number for each text",
    }[report.problem_type]
    trained = f"It was trained on {report.saved.texts:,} texts in mode `{report.mode}`."
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        description=f"{output}: {listed}. {trained}",
        scores=score_table(report),
        remarks="\n".join(_remarks(report)),
    )
    write_text(folder / "README.md", str(card).rstrip() + "\n")


def _remarks(report: HeadReport) -> list[str]:
    remarks, decisions, latency = [], report.decisions, report.latency
    if report.zero_shot:
        remarks.append(f"- The training labels are zero-shot decisions of {report.zero_shot.teacher}.")
    if report.detail:
        entry = report.calibration[report.detail]
        remarks.append(
            "- Probabilities are calibrated (`config.temperature`). The expected calibration error on "
            f"{report.detail} is {100 * entry.after.error:.1f} %, before calibration {100 * entry.before.error:.1f} %."
        )
    if decisions.thresholds:
        remarks.append("- `config.thresholds` has the minimum probability for each label (best F1).")
    if decisions.none_threshold:
        remarks.append(
            f"- Give no label below a probability of {decisions.none_threshold:.3f} (`config.none_threshold`): "
            f"{decisions.criterion}."
        )
    remarks.append(
        f"- Speed: {latency.one_text_ms:.1f} ms for one text, {latency.in_batch_ms:.2f} ms per text in a batch of "
        f"{latency.batch} ({latency.device}, {latency.threads} threads)."
    )
    return remarks
