"""The fine-tuned setting of FEET (Lee et al. 2024, arXiv:2411.01322): the whole model trained on labelled texts.

`train_head.py --mode full` trains on all training texts of a set, and its score on the test texts is the result. Only
an Asterisk can be trained this way.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file, make_folder, read_json
from asterisk.data.labelled_sets import ClassificationSet
from asterisk.evaluation.few_shot import ClassificationResult, single_result

SETTING = "fine-tuned"


def measure_fine_tuned(
    name: str, spec: str, sets: Iterable[ClassificationSet], train_head: Callable[..., None], folder: Path
) -> list[ClassificationResult]:
    """Train a classifier on each set that has training texts, and score it on the test texts; this can take minutes.

    Args:
        name: The model's name in the results.
        spec: The Asterisk to train, as `train_head.py` takes it.
        sets: The labelled sets.
        train_head: Trains a head; its keyword arguments are the options of train_head.py.
        folder: The folder for a subfolder per set with the classifier and its report. An interrupted training is
            resumed, and a finished one is not repeated.

    Returns:
        A row for each of these sets.

    Raises:
        UserError: A training failed; the message includes its error.
    """
    results = []
    for data in sets:
        if not data.train_texts:
            continue
        set_folder = folder / data.name
        make_folder(set_folder)
        for split, texts, labels in (
            ("train", data.train_texts, data.train_labels),
            ("test", data.test_texts, data.test_labels),
        ):
            with atomic_file(set_folder / f"{split}.parquet") as temporary:
                pq.write_table(pa.table({"text": texts, "label": labels}), temporary)
        files = {f"{split}_file": str(set_folder / f"{split}.parquet") for split in ("train", "test")}
        columns = {"text_column": "text", "label_column": "label"}
        try:
            train_head(model=spec, mode="full", resume=True, **files, **columns, output_dir=str(set_folder / "run"))
        except UserError as error:
            raise UserError(f"Fine-tuning {spec} on {data.name} failed: {error}") from error
        report = read_json(set_folder / "run" / "report.json")
        test = report["repeats"][report["saved_repeat"]]["test"]
        results.append(single_result(data, SETTING, name, test["accuracy"], test["macro_f1"]))
    return results
