"""Train SetFit or fastText for benchmarks/heads.py, in a Python environment without this project.

V/bin/python benchmarks/head_worker.py request.json answer.json
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def fit_fasttext(request: dict[str, Any]) -> dict[str, Any]:
    """Supervised fastText with word bigrams; fewer texts get more epochs."""
    import fasttext

    texts, labels = request["train"]
    names = sorted(set(labels))
    lines = [f"__label__{names.index(label)} {one_line(text)}" for text, label in zip(texts, labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        start = time.perf_counter()
        threads = int(os.environ.get("OMP_NUM_THREADS", 2))
        model = fasttext.train_supervised(
            str(path), lr=0.5, epoch=25, wordNgrams=2, dim=100, thread=threads, seed=request["seed"], verbose=0
        )
        seconds = time.perf_counter() - start
    start = time.perf_counter()
    found = model.predict([one_line(text) for text in request["test"]])[0]
    predictions = [names[int(own[0].removeprefix("__label__"))] for own in found]
    return answer(predictions, seconds, time.perf_counter() - start)


def one_line(text: str) -> str:
    """A text on one line in lower case, as fastText needs it."""
    return " ".join(text.lower().split())


def fit_setfit(request: dict[str, Any]) -> dict[str, Any]:
    """SetFit on the teacher, with its defaults except for a single epoch over its pairs."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    texts, labels = request["train"]
    model = SetFitModel.from_pretrained(request["teacher"], labels=sorted(set(labels)))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            batch_size=16,
            num_epochs=1,
            num_iterations=20,
            seed=request["seed"],
            report_to="none",
            save_strategy="no",
        )
        trainer = Trainer(model, arguments, train_dataset=Dataset.from_dict({"text": texts, "label": labels}))
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    start = time.perf_counter()
    predictions = [str(label) for label in model.predict(request["test"])]
    return answer(predictions, seconds, time.perf_counter() - start)


def answer(predictions: list[str], training_seconds: float, prediction_seconds: float) -> dict[str, Any]:
    """Train, predict and write the answer for benchmarks/heads.py."""
    return {
        "predictions": predictions,
        "training_seconds": training_seconds,
        "prediction_seconds": prediction_seconds,
    }


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    fit = fit_fasttext if request["method"] == "fastText" else fit_setfit
    Path(sys.argv[2]).write_text(json.dumps(fit(request)), encoding="utf-8")
