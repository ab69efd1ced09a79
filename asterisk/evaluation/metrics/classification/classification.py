"""Accuracy and macro-F1 as MTEB computes them, for `evaluate.load("asterisk/metrics/classification")`.

Of single-label predictions, one class number a text; or, with the configuration `multilabel`, a row of zeros and ones
a text. Macro-F1 is the mean over the classes that occur among predictions or references.
"""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score, f1_score

DESCRIPTION = "Accuracy and macro-F1 of predicted classes, from 0 to 1."

INPUTS = """
Args:
    predictions: Class numbers; with the configuration multilabel, lists of zeros and ones.
    references: The same, as they should be.

Returns:
    accuracy: The share of texts whose prediction is wholly right.
    macro_f1: The mean of the classes' F1.
"""

CITATION = "Pedregosa et al.: Scikit-learn: Machine Learning in Python, JMLR 12 (2011), 2825-2830."


class Classification(evaluate.Metric):
    """Accuracy and macro-F1, both from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("int64")
        kind = datasets.List(number) if self.config_name == "multilabel" else number
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            # A class that is predicted but never right counts as 0; without the option scikit-learn also warns.
            "macro_f1": float(f1_score(references, predictions, average="macro", zero_division=0)),
        }
