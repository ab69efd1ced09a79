"""Accuracy, macro-F1 and correlations: their only implementation, called directly or through `evaluate`.

The scripts in `classification/` and `regression/` wrap these functions for `evaluate.load`. Code that scores often or
must start fast calls the functions directly: importing `evaluate` takes seconds, and each `compute` about 15 ms.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asterisk.core.errors import UserError

if TYPE_CHECKING:
    from evaluate import EvaluationModule

FOLDER = Path(__file__).parent
Values = Sequence[float] | np.ndarray


def accuracy_and_macro_f1(predictions: Values, references: Values) -> dict[str, float]:
    """Return `accuracy` and `macro_f1`, from 0 to 1, as scikit-learn and MTEB define them.

    Args:
        predictions: Class numbers (texts,), or zeros and ones (texts, classes) for several labels per text, where a
            text is accurate only if all its labels are right.
        references: The true labels, in the same form. Macro-F1 is the mean over the classes that occur in either.
    """
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(references, predictions)),
        # An undefined F1 counts as 0, without scikit-learn's warning.
        "macro_f1": float(f1_score(references, predictions, average="macro", zero_division=0)),
    }


def correlations(predictions: Values, references: Values) -> dict[str, float]:
    """Return `pearson` and `spearman`, from -1 to 1; NaN where all predictions or all references are equal.

    Args:
        predictions: At least two numbers.
        references: As many numbers.
    """
    from scipy.stats import pearsonr, spearmanr

    return {
        "pearson": float(pearsonr(predictions, references).statistic),
        "spearman": float(spearmanr(predictions, references).statistic),
    }


def spearman(predictions: Values, references: Values) -> float:
    """Return the Spearman correlation × 100."""
    return 100 * correlations(predictions, references)["spearman"]


def load_metric(name: str, config_name: str | None = None) -> "EvaluationModule":
    """Load a metric script from disk with `evaluate`, without a network.

    `evaluate` copies the script into its module cache (`HF_MODULES_CACHE`) under a lock and a content hash, so several
    processes can load it at once. Predictions stay in memory, because evaluate's default is a file that all processes
    share.

    Args:
        name: "classification" ([`accuracy_and_macro_f1`]) or "regression" ([`correlations`]).
        config_name: "multilabel" for a classification with several labels per text.

    Raises:
        UserError: The cache cannot be written, or there is no such metric.
    """
    import evaluate

    try:
        return evaluate.load(str(FOLDER / name), config_name=config_name, keep_in_memory=True)
    except OSError as error:
        raise UserError(
            f"evaluate cannot copy the metric {name} into its cache ({error}); "
            "set HF_HOME to a folder that can be written."
        ) from None
