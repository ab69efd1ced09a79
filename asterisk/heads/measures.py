"""Measure a trained head for its report."""

import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.data.labels import MULTI, REGRESSION, SINGLE, LabelledTexts, classes_of, label_array
from asterisk.heads.calibration import class_probabilities, labels_above, measure_none, reliability
from asterisk.heads.head_model import predict_logits
from asterisk.heads.report import Calibration, HeadMeasures, Latency, Mistake
from asterisk.heads.scores import confusion_matrix, predicted_labels, score_classes, score_labels
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification

LISTED_MISTAKES = 20
LATENCY_TEXTS = 30
LATENCY_BATCH = 64


def measure_head(training: HeadTraining, model: AsteriskForSequenceClassification) -> HeadMeasures:
    """Measure the finished model on the development and test texts, if any, and its speed."""
    data, problem_type = training.data, training.data.problem_type
    texts = (data.test or data.development or data.train).texts
    measures = HeadMeasures(measure_latency(model, training.tokenizer, texts))
    parts = {name: part for name, part in (("development", data.development), ("test", data.test)) if part}
    if problem_type == REGRESSION or not parts:
        return measures
    logits = {name: training.predict(model, part.texts) for name, part in parts.items()}
    labels = {name: label_array(part, training.names) for name, part in parts.items()}
    probabilities = {name: class_probabilities(values, problem_type) for name, values in logits.items()}
    for name, values in logits.items():
        uncalibrated = class_probabilities(values * model.config.temperature, problem_type)
        before, after = (reliability(part, labels[name], problem_type) for part in (uncalibrated, probabilities[name]))
        measures.calibration[name] = Calibration(before, after)
    split = measures.detail = list(parts)[-1]
    predictions = predicted_labels(logits[split], problem_type)
    if problem_type == MULTI and (thresholds := model.config.thresholds) is not None:
        measures.with_thresholds = {
            name: score_labels(labels_above(values, thresholds), labels[name])
            for name, values in probabilities.items()
        }
        predictions = labels_above(probabilities[split], thresholds)
    measures.classes = score_classes(predictions, labels[split], training.names)
    if problem_type == SINGLE:
        measures.confusion = confusion_matrix(predictions, labels[split], training.names)
    measures.mistakes = find_mistakes(parts[split], probabilities[split], predictions, labels[split], training.names)
    if (threshold := model.config.none_threshold) is not None:
        none_texts = {"development": data.development_none, "test": data.test_none}
        for name, values in probabilities.items():
            texts = none_texts[name]
            none_probabilities = class_probabilities(training.predict(model, texts), SINGLE) if texts else None
            measures.none[name] = measure_none(values, labels[name], none_probabilities, threshold)
    return measures


def find_mistakes(
    part: LabelledTexts, probabilities: np.ndarray, predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> list[Mistake]:
    """Return the most confident mistakes; with several labels per text, these include missing labels.

    `probabilities` are (texts, classes). `predictions` and `labels` are class numbers (texts,), or zeros and ones
    (texts, classes).
    """
    wrong = predictions != labels
    if labels.ndim == 1:
        rows = np.flatnonzero(wrong)
        classes, confidence = predictions[rows], probabilities[rows, predictions[rows]]
    else:
        certainty = np.where(wrong, np.maximum(probabilities, 1 - probabilities), 0)
        rows = np.flatnonzero(wrong.any(axis=1))
        classes, confidence = certainty[rows].argmax(axis=1), certainty[rows].max(axis=1)
    true_labels = classes_of(part)
    mistakes = []
    for place in np.argsort(-confidence, kind="stable")[:LISTED_MISTAKES]:
        row, name = rows[place], names[classes[place]]
        is_given = labels.ndim == 1 or predictions[row, classes[place]]
        predicted = name if is_given else f"not {name}"
        mistakes.append(Mistake(part.texts[row], ", ".join(true_labels[row]), predicted, float(confidence[place])))
    return mistakes


def measure_latency(
    model: AsteriskForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> Latency:
    """Measure the time from text to logits, tokenisation included."""

    def seconds(part: Sequence[str]) -> float:
        start = time.perf_counter()
        predict_logits(model, part, tokenizer)
        return time.perf_counter() - start

    single = [texts[index % len(texts)] for index in range(LATENCY_TEXTS)]
    batch = [texts[index % len(texts)] for index in range(LATENCY_BATCH)]
    seconds(batch)  # warm up
    return Latency(
        one_text_ms=1000 * statistics.median(seconds([text]) for text in single),
        in_batch_ms=1000 * statistics.median(seconds(batch) for _ in range(3)) / LATENCY_BATCH,
        batch=LATENCY_BATCH,
        device=str(model.device),
        threads=torch.get_num_threads(),
    )
