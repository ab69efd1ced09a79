"""The fine-tuned setting of FEET (Lee et al. 2024, arXiv:2411.01322): the whole model trained on labelled texts.

Each set is given to `train_head.py --mode full`, as a user would, with all its training texts; what it says of the
test texts is the result. Only an Asterisk can be trained so.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file, make_folder, read_json
from asterisk.data.labelled_sets import ClassificationSet
from asterisk.evaluation.few_shot import ClassificationResult, single_result

SETTING = "fine-tuned"


def measure_fine_tuned(
    name: str, spec: str, sets: Iterable[ClassificationSet], door: Path, folder: Path
) -> list[ClassificationResult]:
    """Trains a classifier on each set, which can take minutes, and tells how it does on the test texts.

    Args:
        name: What the results call the model.
        spec: The Asterisk to train, as `train_head.py` takes it.
        sets: One without training texts is left out.
        door: The file train_head.py.
        folder: Gets a folder for each set, with the classifier and its report; a training that was stopped there goes
            on, and one that was finished is not repeated.

    Raises:
        UserError: A training failed; what it said is part of the message.
    """
    lines = []
    for data in sets:
        if not data.train_texts:
            continue
        own = folder / data.name
        make_folder(own)
        for split, texts, labels in (
            ("train", data.train_texts, data.train_labels),
            ("test", data.test_texts, data.test_labels),
        ):
            with atomic_file(own / f"{split}.parquet") as temporary:
                pq.write_table(pa.table({"text": texts, "label": labels}), temporary)
        command = [sys.executable, str(door), "--model", spec, "--mode", "full", "--resume"]
        command += ["--train_file", str(own / "train.parquet"), "--test_file", str(own / "test.parquet")]
        command += ["--text_column", "text", "--label_column", "label", "--output_dir", str(own / "run")]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split())[-400:]
            raise UserError(f"Fine-tuning {spec} on {data.name} failed: {said}")
        report = read_json(own / "run" / "report.json")
        test = report["repeats"][report["saved_repeat"]]["test"]
        lines.append(single_result(data, SETTING, name, test["accuracy"], test["macro_f1"]))
    return lines
