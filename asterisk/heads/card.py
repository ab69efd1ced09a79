"""The model card of a classifier, filled from its report."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from asterisk.core.files import atomic_file
from asterisk.heads.report import score_table

CARD = "README.md"

# Labels that a card names one by one, at most.
NAMED_LABELS = 20

TEMPLATE = """---
{{ card_data }}
---

# Text classifier on an Asterisk

{{ what }}

```python
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER_OR_ID", trust_remote_code=True)
print(classify("{{ example }}", top_k=3))
```

{{ scores }}

{{ remarks }}
"""


def write_head_card(folder: Path, report: dict[str, Any], names: list[str]) -> None:
    """Writes README.md into a saved classifier's folder.

    Args:
        folder: Of the model.
        report: As train_head.py writes it.
        names: The labels.
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["asterisk", "text-classification", "custom_code"],
    )
    listed = ", ".join(f"`{name}`" for name in names[:NAMED_LABELS]) + (", …" if len(names) > NAMED_LABELS else "")
    kinds = {
        "single_label_classification": f"One of {len(names):,} labels for each text: {listed}.",
        "multi_label_classification": f"Any of {len(names):,} labels for each text: {listed}.",
        "regression": f"A number for each text: {listed}.",
    }
    trained = f"Trained on {report['repeats'][report['saved_repeat']]['texts']:,} texts, mode `{report['mode']}`."
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        what=f"{kinds[report['problem_type']]} {trained}",
        example="A text.",
        scores=score_table(report),
        remarks="\n".join(_remarks(report)),
    )
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(str(card).rstrip() + "\n", encoding="utf-8")


def _remarks(report: dict[str, Any]) -> list[str]:
    remarks = []
    decisions, calibration = report.get("decisions") or {}, report.get("calibration") or {}
    if zero_shot := report.get("zero_shot"):
        remarks.append(f"- The labels it learned from are the zero-shot decisions of {zero_shot['teacher']}.")
    if calibration:
        split, own = list(calibration.items())[-1]
        remarks.append(
            f"- Probabilities are calibrated (`config.temperature`): expected calibration error on {split} "
            f"{100 * own['after']['error']:.1f} %, without it {100 * own['before']['error']:.1f} %."
        )
    if decisions.get("thresholds"):
        remarks.append("- `config.thresholds` has each label's probability from which to give it (best F1).")
    if decisions.get("none_threshold"):
        remarks.append(
            "- Better give no label below `config.none_threshold`, a probability of "
            f"{decisions['none_threshold']:.3f}: {decisions['criterion']}."
        )
    if latency := report.get("latency"):
        remarks.append(
            f"- {latency['one_text_ms']:.1f} ms for one text, {latency['in_batch_ms']:.2f} ms a text in a batch of "
            f"{latency['batch']} ({latency['device']}, {latency['threads']} threads)."
        )
    return remarks
