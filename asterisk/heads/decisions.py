"""What a trained head's probabilities are turned into: its temperature and thresholds, chosen on development texts."""

from typing import Any

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
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification


def check_decisions(arguments: DecisionArguments) -> None:
    """Refuses what is out of range.

    Raises:
        UserError: It is.
    """
    if not 0 < arguments.target_accuracy <= 1:
        raise UserError(f"--target_accuracy must lie above 0 and up to 1, not {arguments.target_accuracy}.")


def decide(
    training: HeadTraining, model: AsteriskForSequenceClassification, arguments: DecisionArguments
) -> dict[str, Any]:
    """Sets temperature and thresholds in the model's configuration.

    Without development texts, and of a regression, all stays as it was.

    Returns:
        `temperature`; `thresholds`, label → probability, where a text may have several; else `none_threshold` and its
        `criterion`. Empty if nothing was chosen.
    """
    part, problem_type = training.data.development, training.data.problem_type
    if part is None or problem_type == REGRESSION:
        return {}
    logits, labels = training.predict(model, part.texts), label_array(part, training.names)
    temperature = fit_temperature(logits, labels, problem_type)
    model.config.temperature = temperature
    shares = probabilities(logits / temperature, problem_type)
    if problem_type == MULTI:
        model.config.thresholds = label_thresholds(shares, labels)
        return {
            "temperature": temperature,
            "thresholds": dict(zip(training.names, model.config.thresholds, strict=True)),
        }
    none = _none_threshold(training, model, shares, labels, arguments)
    model.config.none_threshold = none.threshold
    return {"temperature": temperature, "none_threshold": none.threshold, "criterion": none.criterion}


def _none_threshold(
    training: HeadTraining,
    model: AsteriskForSequenceClassification,
    shares: np.ndarray,
    labels: np.ndarray,
    arguments: DecisionArguments,
) -> NoneThreshold:
    if not training.data.development_none:
        return none_threshold_by_accuracy(shares, labels, arguments.target_accuracy)
    # The model's temperature is set by now.
    others = probabilities(training.predict(model, training.data.development_none), training.data.problem_type)
    return none_threshold_by_texts(shares, labels, others, len(training.names))
