"""Metrics as scripts that `evaluate.load` reads from disk, so that nothing needs a network.

`evaluate` copies a script into its cache of modules (`HF_MODULES_CACHE`) under a hash of its content and under a lock,
so that processes may load the same or other versions at once; predictions are kept in memory, where its default would
be one shared file on disk.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from asterisk.core.errors import UserError

if TYPE_CHECKING:
    from evaluate import EvaluationModule

FOLDER = Path(__file__).parent


def load_metric(name: str, config_name: str | None = None) -> "EvaluationModule":
    """A metric of ours, to be given predictions and references with `compute`.

    Args:
        name: classification (`accuracy` and `macro_f1`) or regression (`pearson` and `spearman`), all from 0 or -1 to
            1.
        config_name: multilabel, for a classification whose every text has a row of zeros and ones, one for each class.

    Raises:
        UserError: The cache cannot be written, or there is no such metric.
    """
    import evaluate  # takes seconds to import

    try:
        return evaluate.load(str(FOLDER / name), config_name=config_name, keep_in_memory=True)
    except OSError as error:
        raise UserError(
            f"evaluate cannot copy the metric {name} into its cache ({error}); "
            "set HF_HOME to a folder that can be written."
        ) from None
