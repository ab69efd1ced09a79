"""What a classification head reached, as JSON, as Markdown and as a page with plots; and what is measured for them."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.files import atomic_file, write_json
from asterisk.core.markdown import aligned_table
from asterisk.data.labels import MULTI, REGRESSION, SINGLE, classes_of, label_array
from asterisk.heads.calibration import given_labels, measure_none, probabilities, reliability
from asterisk.heads.head_model import predict_logits
from asterisk.heads.page import head_page
from asterisk.heads.scores import confusion_matrix, predicted_labels, score_classes, score_labels
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification

# A confusion matrix of more classes is too wide to read; then the most frequent confusions are listed.
MATRIX_CLASSES = 20
MOST_FREQUENT = 20
MISTAKES = 20

LATENCY_TEXTS = 30
LATENCY_BATCH = 64


# --- What is measured ------------------------------------------------------------------------------------------------


def measure_head(training: HeadTraining, model: AsteriskForSequenceClassification) -> dict[str, Any]:
    """Figures of the model as it is saved, on test or else development, and how fast it is.

    `calibration` by split, `detail` (the split of what follows), `classes`, `confusion`, `mistakes`,
    `with_thresholds` and `none` by split, as far as there are texts for them and the problem has them; and `latency`.
    """
    data, problem_type = training.data, training.data.problem_type
    found: dict[str, Any] = {}
    parts = {"development": data.development, "test": data.test}
    shown = {name: part for name, part in parts.items() if part}
    if problem_type != REGRESSION and shown:
        logits = {name: training.predict(model, part.texts) for name, part in shown.items()}
        labels = {name: label_array(part, training.names) for name, part in shown.items()}
        shares = {name: probabilities(own, problem_type) for name, own in logits.items()}
        temperature: float = model.config.temperature
        found["calibration"] = {
            name: {
                "before": asdict(
                    reliability(probabilities(own * temperature, problem_type), labels[name], problem_type)
                ),
                "after": asdict(reliability(shares[name], labels[name], problem_type)),
            }
            for name, own in logits.items()
        }
        split = list(shown)[-1]
        predictions = predicted_labels(logits[split], problem_type)
        found["detail"] = split
        if problem_type == MULTI and model.config.thresholds is not None:
            thresholds = model.config.thresholds
            found["with_thresholds"] = {
                name: score_labels(given_labels(own, thresholds), labels[name]) for name, own in shares.items()
            }
            predictions = given_labels(shares[split], thresholds)
        found["classes"] = score_classes(predictions, labels[split], training.names)
        if problem_type == SINGLE:
            found["confusion"] = confusion_matrix(predictions, labels[split], training.names)
        found["mistakes"] = _mistakes(shown[split], shares[split], predictions, labels[split], training.names)
        if model.config.none_threshold is not None:
            found["none"] = _none(training, model, shares, labels)
    found["latency"] = measure_latency(model, training.tokenizer, (data.test or data.development or data.train).texts)
    return found


def _mistakes(
    part: Any, shares: np.ndarray, predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The surest of what is wrong: a label that is given and not there, or, of several labels, also the reverse."""
    if labels.ndim == 1:
        rows = np.flatnonzero(predictions != labels)
        classes, confidence = predictions[rows], shares[rows, predictions[rows]]
    else:
        wrong = predictions != labels
        surety = np.where(wrong, np.maximum(shares, 1 - shares), 0)
        rows = np.flatnonzero(wrong.any(axis=1))
        classes, confidence = surety[rows].argmax(axis=1), surety[rows].max(axis=1)
    own = classes_of(part)
    lines = []
    for place in np.argsort(-confidence, kind="stable")[:MISTAKES]:
        row, name = rows[place], names[classes[place]]
        is_given = labels.ndim == 1 or predictions[row, classes[place]]
        lines.append(
            {
                "text": part.texts[row],
                "label": ", ".join(own[row]),
                "predicted": name if is_given else f"not {name}",
                "confidence": float(confidence[place]),
            }
        )
    return lines


def _none(
    training: HeadTraining,
    model: AsteriskForSequenceClassification,
    shares: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
) -> dict[str, Any]:
    texts = {"development": training.data.development_none, "test": training.data.test_none}
    found = {}
    for split, own in shares.items():
        others = None
        if texts[split]:
            others = probabilities(training.predict(model, texts[split]), SINGLE)
        found[split] = measure_none(own, labels[split], others, model.config.none_threshold or 0.0)
        found[split]["none_texts"] = len(texts[split])
    return found


def measure_latency(
    model: AsteriskForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> dict[str, Any]:
    """Milliseconds from a text to its logits, tokenising included: alone (the median of some) and in a batch."""

    def seconds(part: Sequence[str]) -> float:
        start = time.perf_counter()
        predict_logits(model, part, tokenizer)
        return time.perf_counter() - start

    alone = [texts[index % len(texts)] for index in range(LATENCY_TEXTS)]
    batch = [texts[index % len(texts)] for index in range(LATENCY_BATCH)]
    seconds(batch)  # the first of all is slower
    return {
        "one_text_ms": 1000 * statistics.median(seconds([text]) for text in alone),
        "in_batch_ms": 1000 * statistics.median(seconds(batch) for _ in range(3)) / LATENCY_BATCH,
        "batch": LATENCY_BATCH,
        "device": str(model.device),
        "threads": torch.get_num_threads(),
    }


# --- What is written -------------------------------------------------------------------------------------------------


def write_head_report(folder: Path, report: dict[str, Any]) -> str:
    """Writes report.json, report.md and report.html; gives the table of scores, the first of report.md."""
    scores = score_table(report)
    with atomic_file(folder / "report.md") as temporary:
        temporary.write_text(_markdown(report, scores), encoding="utf-8")
    with atomic_file(folder / "report.html") as temporary:
        temporary.write_text(head_page(report), encoding="utf-8")
    write_json(folder / "report.json", report)  # the last, for it says that the run is finished
    return scores


def _markdown(report: dict[str, Any], scores: str) -> str:
    parts = [f"# {report['mode']} head on {report['model']}", _data_table(report), scores]
    parts += [*_decisions(report), *_speed_and_curve(report)]
    if classes := report.get("classes"):
        split = report["detail"]
        rows = [["label", "precision", "recall", "F1", "texts"]]
        rows += [
            [_cell(line["label"]), *(f"{line[key]:.1f}" for key in ("precision", "recall", "f1")), str(line["texts"])]
            for line in classes
        ]
        parts += [f"## Labels ({split})", aligned_table(rows)]
        if matrix := report.get("confusion"):
            parts += [f"## Confusion ({split})", _confusion_table(matrix, [line["label"] for line in classes])]
        if mistakes := report.get("mistakes"):
            rows = [["text", "label", "predicted", "probability"]]
            for line in mistakes:
                cells = (_cell(line[key])[:200] for key in ("text", "label", "predicted"))
                rows.append([*cells, f"{line['confidence']:.3f}"])
            parts += [f"## The surest mistakes ({split})", aligned_table(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _decisions(report: dict[str, Any]) -> list[str]:
    parts = []
    decisions = report.get("decisions") or {}
    if calibration := report.get("calibration"):
        rows = [["calibration error, %", "before", "after"]]
        rows += [
            [name, *(f"{100 * own[key]['error']:.2f}" for key in ("before", "after"))]
            for name, own in calibration.items()
        ]
        fitted = f"Temperature {decisions['temperature']:.3f}, fitted on development." if decisions else ""
        parts += ["## Calibration", fitted, aligned_table(rows)]
    if thresholds := decisions.get("thresholds"):
        rows = [["label", "given from"], *([_cell(name), f"{value:.3f}"] for name, value in thresholds.items())]
        parts += ["## Thresholds, for the highest F1 on development", aligned_table(rows)]
        rows = [["split", "accuracy", "macro_f1"]]
        for name, own in report["with_thresholds"].items():
            rows.append([name, number(own["accuracy"]), number(own["macro_f1"])])
        parts += ["With these thresholds in place of one half:", aligned_table(rows)]
    if "criterion" in decisions:
        value = decisions["none_threshold"]
        sentence = "No threshold was chosen" if value is None else f"No label is given below {value:.4f}"
        parts += ["## None of these", f"{sentence}: {decisions['criterion']}."]
    if none := report.get("none"):
        names = {"share": "given a label, %", "accuracy": "of these right, %", "macro_f1": "macro_f1 with none"}
        names |= {"none_recall": "none found, %"}
        shown = [name for name in names if any(name in own for own in none.values())]
        rows = [["split", *(names[name] for name in shown)]]
        rows += [[split, *(number(own.get(name)) for name in shown)] for split, own in none.items()]
        parts += [aligned_table(rows)]
    return parts


def _speed_and_curve(report: dict[str, Any]) -> list[str]:
    parts = []
    if curve := report.get("learning_curve"):
        names = [name for name in curve[0] if name != "texts"]
        rows = [["training texts", *names]]
        rows += [[f"{line['texts']:,}", *(number(line[name]) for name in names)] for line in curve]
        parts += ["## Learning curve", aligned_table(rows)]
    if latency := report.get("latency"):
        rows = [
            ["milliseconds a text", f"{latency['device']}, {latency['threads']} threads"],
            ["alone", f"{latency['one_text_ms']:.2f}"],
            [f"in a batch of {latency['batch']}", f"{latency['in_batch_ms']:.3f}"],
        ]
        parts += ["## Speed", aligned_table(rows)]
    return parts


def _data_table(report: dict[str, Any]) -> str:
    rows = [["split", "texts", "truncated"]]
    rows += [[name, f"{part['texts']:,}", f"{part['truncated']:.1%}"] for name, part in report["data"].items()]
    return aligned_table(rows)


def score_table(report: dict[str, Any]) -> str:
    """Scores of the saved model, and the mean over the repeats if there are several, as a Markdown table."""
    splits = [split for split in ("development", "test") if report["repeats"][0][split] is not None]
    if not splits:
        return ""
    names = list(report["repeats"][0][splits[0]])
    several = len(report["repeats"]) > 1
    rows = [["split", *names, *([f"mean {name} of {len(report['repeats'])}" for name in names] if several else [])]]
    for split in splits:
        saved = report["repeats"][report["saved_repeat"]][split]
        line = [split, *(number(saved[name]) for name in names)]
        if several:
            for name in names:
                own = report["mean"][split][name]
                line.append(f"{number(own['mean'])} ± {number(own['deviation'])}")
        rows.append(line)
    return aligned_table(rows)


def _confusion_table(matrix: dict[str, dict[str, int]], names: Sequence[str]) -> str:
    """The matrix, a line for each class; or the most frequent confusions, where there are many classes."""
    if len(names) <= MATRIX_CLASSES:
        rows = [["label \\ predicted", *map(_cell, names)]]
        rows += [[_cell(name), *(str(matrix.get(name, {}).get(other, 0)) for other in names)] for name in names]
        return aligned_table(rows)
    wrong = [(-count, own, other) for own, line in matrix.items() for other, count in line.items() if own != other]
    rows = [["label", "predicted", "texts"]]
    rows += [[_cell(own), _cell(other), str(-count)] for count, own, other in sorted(wrong)[:MOST_FREQUENT]]
    return aligned_table(rows)


def number(value: float | None) -> str:
    """A score, a dash for None."""
    return "–" if value is None else f"{value:.2f}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
