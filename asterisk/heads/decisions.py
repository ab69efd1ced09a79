"""The temperature and thresholds of a trained head, chosen on development texts."""

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.labels import MULTI, REGRESSION, label_array
from asterisk.heads.arguments import DecisionArguments
from asterisk.heads.calibration import (
    NoneThreshold,
    fit_temperature,
    label_thresholds,
    none_threshold_by_accuracy,
    none_threshold_by_texts,
    probabilities,
)
from asterisk.heads.report import Decisions
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification


def check_decisions(arguments: DecisionArguments) -> None:
    """Check the range of the target accuracy.

    Raises:
        UserError: The target accuracy is out of range.
    """
    if not 0 < arguments.target_accuracy <= 1:
        raise UserError(f"--target_accuracy must be above 0 and at most 1, not {arguments.target_accuracy}.")


def decide(
    training: HeadTraining, model: AsteriskForSequenceClassification, arguments: DecisionArguments
) -> Decisions:
    """Choose the temperature and the thresholds, and set them in the model's configuration.

    A regression or a model without development texts is left unchanged.
    """
    development, problem_type = training.data.development, training.data.problem_type
    if development is None or problem_type == REGRESSION:
        return Decisions()
    logits, labels = training.predict(model, development.texts), label_array(development, training.names)
    temperature = model.config.temperature = fit_temperature(logits, labels, problem_type)
    shares = probabilities(logits / temperature, problem_type)
    if problem_type == MULTI:
        model.config.thresholds = label_thresholds(shares, labels)
        return Decisions(temperature, dict(zip(training.names, model.config.thresholds, strict=True)))
    none = _none_threshold(training, model, shares, labels, arguments)
    model.config.none_threshold = none.threshold
    return Decisions(temperature, none_threshold=none.threshold, criterion=none.criterion)


def _none_threshold(
    training: HeadTraining,
    model: AsteriskForSequenceClassification,
    shares: np.ndarray,
    labels: np.ndarray,
    arguments: DecisionArguments,
) -> NoneThreshold:
    if not training.data.development_none:
        return none_threshold_by_accuracy(shares, labels, arguments.target_accuracy)
    # The model already divides its logits by the temperature.
    none_logits = training.predict(model, training.data.development_none)
    none_shares = probabilities(none_logits, training.data.problem_type)
    return none_threshold_by_texts(shares, labels, none_shares)
