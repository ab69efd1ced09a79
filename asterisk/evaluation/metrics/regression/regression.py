"""Pearson and Spearman correlation of predicted with true numbers, for `evaluate.load`."""

import datasets
import evaluate

from asterisk.evaluation.metrics.functions import correlations

INPUTS = """
Args:
    predictions: Numbers, at least two.
    references: As many numbers.

Returns:
    pearson: The linear correlation; NaN where all predictions or all references are equal.
    spearman: The correlation of the ranks; NaN in the same cases.
"""


class Regression(evaluate.Metric):
    """Pearson and Spearman correlation, both from -1 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description="Pearson and Spearman correlation of predicted with true numbers, from -1 to 1.",
            citation="Virtanen et al.: SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, "
            "Nature Methods 17 (2020), 261-272.",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return correlations(predictions, references)
