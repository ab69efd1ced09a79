"""Pearson and Spearman correlation of predicted with true numbers, for `evaluate.load("asterisk/metrics/regression")`.

Both are NaN where all predictions or all references are equal.
"""

import datasets
import evaluate
from scipy.stats import pearsonr, spearmanr

DESCRIPTION = "Pearson and Spearman correlation of predicted with true numbers, from -1 to 1."

INPUTS = """
Args:
    predictions: Numbers, at least two.
    references: As many numbers.

Returns:
    pearson: The linear correlation.
    spearman: The correlation of the ranks.
"""

CITATION = "Virtanen et al.: SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, Nature Methods 17."


class Regression(evaluate.Metric):
    """Pearson and Spearman correlation, both from -1 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return {
            "pearson": float(pearsonr(predictions, references).statistic),
            "spearman": float(spearmanr(predictions, references).statistic),
        }
