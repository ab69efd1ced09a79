"""The temperature and thresholds of a trained head, chosen on development texts."""

from asterisk.data.labels import MULTI, REGRESSION, label_array
from asterisk.heads.arguments import DecisionArguments
from asterisk.heads.calibration import (
    class_probabilities,
    fit_temperature,
    label_thresholds,
    none_threshold_by_accuracy,
    none_threshold_by_texts,
)
from asterisk.heads.report import Decisions
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification


def decide(
    training: HeadTraining, model: AsteriskForSequenceClassification, arguments: DecisionArguments
) -> Decisions:
    """Choose the temperature and the thresholds, and set them in the model's configuration.

    A regression, or a model without development texts, stays unchanged.
    """
    development, problem_type = training.data.development, training.data.problem_type
    if development is None or problem_type == REGRESSION:
        return Decisions()
    logits, labels = training.predict(model, development.texts), label_array(development, training.names)
    temperature = model.config.temperature = fit_temperature(logits, labels, problem_type)
    probabilities = class_probabilities(logits / temperature, problem_type)
    if problem_type == MULTI:
        model.config.thresholds = label_thresholds(probabilities, labels)
        return Decisions(temperature, dict(zip(training.names, model.config.thresholds, strict=True)))
    if texts := training.data.development_none:
        # The model already divides its logits by the temperature.
        none_probabilities = class_probabilities(training.predict(model, texts), problem_type)
        none = none_threshold_by_texts(probabilities, labels, none_probabilities)
    else:
        none = none_threshold_by_accuracy(probabilities, labels, arguments.target_accuracy)
    model.config.none_threshold = none.threshold
    return Decisions(temperature, None, *none)
