"""Malicious artefacts: how each is made, and the sentence with which a command refuses it."""

import importlib
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoModel, AutoModelForSequenceClassification

import evaluate_mteb
import publish
import serve
import train_distill
import train_head
from asterisk.models.onnx import OnnxEmbedder
from asterisk.teachers.store import EmbeddingStore
from tests.support.labelled import topic_rows, write_table, write_tiny_asterisk
from tests.support.poisoned_files import RECIPES, STORES, TEXTS, Change
from tests.support.poisoned_models import CLASSIFIER, MODELS, add_onnx, config, only_a_pickle, weights_elsewhere


@dataclass
class Case:
    """An artefact and the command that reads it."""

    name: str
    reader: str
    make: Change  # changes a valid artefact, or writes one into an empty folder
    sentence: str  # a part of the error message

    def __str__(self) -> str:
        return f"{self.name}, {self.reader}"


@dataclass
class Refusal:
    """The refusal of one artefact."""

    kind: str
    sentence: str
    seconds: float  # processor time, which does not depend on other processes
    peak_mb: float  # peak resident memory above the start


def run(main: Callable[[], None], *argv: object) -> None:
    sys.argv = list(map(str, argv))
    main()


def load_automatically(artefact: Path, work: Path) -> None:
    AutoModel.from_pretrained(artefact, trust_remote_code=True).encode(["soup goal"])


def load_classifier(artefact: Path, work: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(artefact, trust_remote_code=True)


def publish_it(artefact: Path, work: Path) -> None:
    run(publish.main, "publish.py", artefact, "--output_dir", work / "out")


def evaluate_it(artefact: Path, work: Path) -> None:
    file = work / "data" / "sts" / "STSBenchmark.test.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"sentence1": ["a"], "sentence2": ["b"], "score": [1.0]}), file)
    flags = ("--tasks", "STSBenchmark", "--data_dir", work / "data", "--output_dir", work / "out")
    model = next(artefact.glob("onnx/*.onnx"), artefact)
    run(evaluate_mteb.main, "evaluate_mteb.py", "--model", model, *flags)


def train_its_head(artefact: Path, work: Path) -> None:
    table = write_table(work / "train.csv", topic_rows(20))
    flags = ("--train_file", table, "--output_dir", work / "out")
    run(train_head.main, "train_head.py", "--model", artefact, *flags)


def train_it_on(artefact: Path, work: Path) -> None:
    (work / "texts.txt").write_text("\n".join(text for text, _ in topic_rows(20)))
    flags = ("--corpus", work / "texts.txt", "--simcse_weight", 1, "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--encoder", artefact, *flags)


def learn_from_it(artefact: Path, work: Path) -> None:
    (work / "texts.txt").write_text("\n".join(text for text, _ in topic_rows(20)))
    flags = ("--corpus", work / "texts.txt", "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--teacher", artefact, *flags)


def embed_by_onnx(artefact: Path, work: Path) -> None:
    OnnxEmbedder(artefact / "onnx" / "model.onnx")


def serve_it(artefact: Path, work: Path) -> None:
    run(serve.main, "serve.py", artefact, "--port", 18_231)


def read_as_corpus(artefact: Path, work: Path) -> None:
    flags = ("--encoder", work / "model", "--simcse_weight", 1, "--output_dir", work / "out")
    run(train_distill.main, "train_distill.py", "--corpus", *artefact.iterdir(), *flags)


def read_as_labelled_texts(artefact: Path, work: Path) -> None:
    flags = ("--train_file", *artefact.iterdir(), "--output_dir", work / "out")
    run(train_head.main, "train_head.py", "--model", work / "model", *flags)


def read_as_recipe(artefact: Path, work: Path) -> None:
    run(train_distill.main, "train_distill.py", "--config", *artefact.iterdir(), "--output_dir", work / "out")


def open_as_store(artefact: Path, work: Path) -> None:
    EmbeddingStore(artefact).check_shards()


READERS: dict[str, Callable[[Path, Path], None]] = {
    "AutoModel": load_automatically,
    "publish.py": publish_it,
    "evaluate_mteb.py --model": evaluate_it,
    "train_head.py --model": train_its_head,
    "train_distill.py --encoder": train_it_on,
    "serve.py": serve_it,
    "train_distill.py --teacher": learn_from_it,
    "OnnxEmbedder": embed_by_onnx,
    "a classifier": load_classifier,
    "train_distill.py --corpus": read_as_corpus,
    "train_head.py --train_file": read_as_labelled_texts,
    "train_distill.py --config": read_as_recipe,
    "a store": open_as_store,
}
MODEL_READERS = list(READERS)[:5]
# These start from a valid model, too.
OF_MODELS = {*MODEL_READERS, "train_distill.py --teacher", "OnnxEmbedder", "a classifier"}


# Messages of transformers itself.
OTHERWISE = {
    ("a weight of another shape", "AutoModel"): "`ignore_mismatched_sizes`",
    ("a smaller token table", "AutoModel"): "`ignore_mismatched_sizes`",
}

CASES = [
    *(
        Case(name, reader, make, OTHERWISE.get((name, reader), said))
        for name, make, said in MODELS
        for reader in MODEL_READERS
    ),
    *(
        Case("a list of weights that names ../x", reader, weights_elsewhere, "which is not in its folder")
        for reader in MODEL_READERS[1:]
    ),
    Case("a head that is not there", "publish.py", config(architectures=CLASSIFIER), "classifier.dense.bias"),
    Case("a head that is not there", "a classifier", config(architectures=CLASSIFIER), "classifier.dense.bias"),
    Case("a pickle instead of safetensors", "train_distill.py --teacher", only_a_pickle, "model.safetensors"),
    *(
        Case("ONNX, a token beyond the table", reader, add_onnx, "a token of id 16, which the embedding table lacks")
        for reader in ("evaluate_mteb.py --model", "OnnxEmbedder")
    ),
    *(Case(name, "train_distill.py --corpus", make, said) for name, make, said in TEXTS),
    *(Case(name, "train_head.py --train_file", make, said) for name, make, said in TEXTS),
    *(Case(name, "train_distill.py --config", make, said) for name, make, said in RECIPES),
    *(Case(name, "a store", make, said) for name, make, said in STORES),
]


def refuse(case: Case, work: Path) -> Refusal | None:
    """Return the refusal of a case, which runs in a separate process; None if it is accepted."""
    artefact = work / "artefact"
    model = write_tiny_asterisk(work / "model")
    if case.reader in OF_MODELS:
        model.rename(artefact)
    else:
        artefact.mkdir()
    case.make(artefact)
    # The forked process shares these with all cases.
    for room in ("distillation", "evaluation", "heads"):
        importlib.import_module(f"asterisk.{room}.run")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        answer = pickle.dumps(_tried(case, artefact, work))
        with os.fdopen(writing, "wb") as file:
            file.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    assert answer, f"The process that tried {case} died."
    return pickle.loads(answer)


def _tried(case: Case, artefact: Path, work: Path) -> Refusal | None:
    said = (work / "said").open("w+")
    sys.stdout, sys.stderr = (work / "printed").open("w"), said
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    def refusal(kind: str, sentence: str) -> Refusal:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return Refusal(kind, sentence.replace(str(work), ""), time.process_time() - start, peak / 1024)

    try:
        READERS[case.reader](artefact, work)
    except SystemExit as error:
        said.flush()
        return refusal(f"exit {error.code}", (work / "said").read_text())
    except Exception as error:
        return refusal(type(error).__name__, str(error))
    return None
