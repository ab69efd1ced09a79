"""Accuracy and macro-F1 for `evaluate.load`, with the configuration `multilabel` for several labels per text."""

from typing import Any

import datasets
import evaluate

from asterisk.evaluation.metrics.functions import accuracy_and_macro_f1

INPUTS = """
Args:
    predictions: Class numbers; with the configuration multilabel, lists of zeros and ones.
    references: The true labels, in the same form.

Returns:
    accuracy: The share of texts whose labels are all predicted right.
    macro_f1: The mean of the classes' F1.
"""


class Classification(evaluate.Metric):
    """Accuracy and macro-F1, both from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("int64")
        kind = datasets.List(number) if self.config_name == "multilabel" else number
        return evaluate.MetricInfo(
            description="Accuracy and macro-F1 of predicted classes, from 0 to 1.",
            citation="Pedregosa et al.: Scikit-learn: Machine Learning in Python, JMLR 12 (2011), 2825-2830.",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return accuracy_and_macro_f1(predictions, references)
