"""How well embeddings tell classes apart: without training, from few labelled texts, and as MTEB measures it.

Settings of FEET (Lee et al. 2024, arXiv:2411.01322) that leave the encoder as it is; the other one is in
[`asterisk.finetuned_classification`]:

- zero-shot: a text's class is the one whose label, put into words, has the nearest embedding;
- frozen: MTEB's classification, a logistic regression on embeddings of as many texts of a class as MTEB draws;
- few-shot N: the same from N texts of a class.

The last two are repeated with ten draws of training texts, the same for every encoder.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from asterisk.cli import UserError
from asterisk.encoders import Encoder
from asterisk.metrics import load_metric
from asterisk.reading import read_columns

if TYPE_CHECKING:
    from evaluate import EvaluationModule

# What MTEB's tasks set; its class AbsTaskClassification says 8. JigsawBalanced stands for ToxicConversations.
SAMPLES_PER_LABEL = {
    "AmazonCounterfactual": 32,
    "Emotion": 16,
    "JigsawBalanced": 16,
    "TweetSentimentExtraction": 32,
}
MTEB_SAMPLES_PER_LABEL = 8
MTEB_SEED = 42
DRAWS = 10

FEW_SHOT = (8, 16, 64)

# The label alone, and the label in a sentence as texts are; chosen without looking at scores.
TEMPLATES = ("{}", "This text is about {}.")

# The share of a set without splits that is kept for testing.
TEST_SHARE = 0.2

SPLITS = ("train", "dev", "test", "all")

_BOUNDARY = re.compile(r"[_\-.#\s]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass
class ClassificationSet:
    """Labelled texts, apart for training and testing.

    `classes` are those of the whole set, sorted, so that a part of it is no easier. Without training texts a set
    serves only zero-shot. `descriptions` maps a class to the words that stand for it there, instead of its name.
    """

    name: str
    classes: list[str]
    test_texts: list[str]
    test_labels: list[str]
    train_texts: list[str] = field(default_factory=list)
    train_labels: list[str] = field(default_factory=list)
    samples_per_label: int = MTEB_SAMPLES_PER_LABEL
    descriptions: dict[str, str] = field(default_factory=dict)


@dataclass
class LocalSet:
    """Where a set's splits (train, dev, test, or all for one without splits) lie, and which column has the label."""

    name: str
    files: dict[str, Path]
    label_column: str = "label"


@dataclass
class ClassificationResult:
    """One encoder's line in the table; scores × 100, and their standard deviations over the draws if there are any.

    `short_classes` of the classes have fewer training texts than the setting asks for: all that they have is used.
    `majority` is the accuracy of always giving the commonest test class: what an accuracy has to beat.
    `retention` is accuracy ÷ the first encoder's, or None where that is 0. `accuracies` are those of the draws, or the
    one there is.
    """

    set: str
    setting: str
    model: str
    accuracy: float
    accuracy_sd: float | None
    macro_f1: float
    macro_f1_sd: float | None
    retention: float | None
    test_texts: int
    classes: int
    short_classes: int
    majority: float
    accuracies: list[float]


def read_labelled(
    source: str, text_column: str = "text", label_column: str = "label", split: str = "train"
) -> tuple[list[str], list[str]]:
    """Texts and their labels, of a Parquet, CSV or JSONL file, or of a Hub dataset's split.

    Args:
        source: As in [`asterisk.reading.read_columns`].
        text_column: Holds strings.
        label_column: Holds strings, whole numbers or truth values; they become strings.
        split: The Hub dataset's split if `source` names none.

    Raises:
        UserError: The source is missing, cannot be read, lacks a column or rows, or a row has no text or no label.
    """
    columns = read_columns(source, [text_column, label_column], split)
    if not columns[text_column]:
        raise UserError(f"{source} has no rows; give at least one labelled text.")
    for row, text in enumerate(columns[text_column]):
        if not isinstance(text, str):
            raise UserError(f"{source}: row {row} of column {text_column!r} holds {text!r} instead of text.")
    labels = [_label(value, row, source, label_column) for row, value in enumerate(columns[label_column])]
    return columns[text_column], labels


def _label(value: Any, row: int, source: str, column: str) -> str:
    if not isinstance(value, (str, Integral)) or not str(value).strip():
        raise UserError(
            f"{source}: row {row} of column {column!r} holds {value!r} instead of a label, a word or a whole number."
        )
    return str(value)


def local_sets(folder: Path) -> dict[str, LocalSet]:
    """The labelled sets of a folder, by name: files NAME.SPLIT.parquet with a column `text` and columns of labels.

    A file with other label columns than `label` holds a set for each of them, called NAME-COLUMN.

    Raises:
        UserError: There is no such file, or one cannot be read or has no column of labels.
    """
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.glob("*.parquet")):
        name, _, split = path.stem.rpartition(".")
        if name and split in SPLITS:
            files[name][split] = path
    if not files:
        raise UserError(f"{folder} holds no labelled sets: give a folder with files such as Banking77.test.parquet.")
    sets = {}
    for name, own in files.items():
        for column in _label_columns(own):
            title = name if column == "label" else f"{name}-{column}"
            sets[title] = LocalSet(title, own, column)
    return sets


def _label_columns(files: dict[str, Path]) -> list[str]:
    path = next(iter(files.values()))
    try:
        columns = pq.read_schema(path).names
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these two kinds
        raise UserError(f"{path} cannot be read: {error}.") from None
    labels = ["label"] if "label" in columns else [column for column in columns if column != "text"]
    if not labels:
        raise UserError(f"{path} has no column of labels beside {', '.join(columns)}; give a column 'label'.")
    return labels


def read_set(local: LocalSet, max_test_texts: int | None = None, seed: int = MTEB_SEED) -> ClassificationSet:
    """Reads a set: training texts from `train`, test texts from `test`; `dev` lends only its classes.

    One without splits is shuffled with the seed and cut, a fifth for testing.

    Args:
        local: As [`local_sets`] gives it.
        max_test_texts: Test on so many texts at most, drawn with the seed; all classes stay.
        seed: Of both draws.

    Raises:
        UserError: A file cannot be read or lacks a text or label, or the set has neither `test` nor `all`.
    """
    splits = {split: read_labelled(str(path), label_column=local.label_column) for split, path in local.files.items()}
    classes = sorted({label for _, labels in splits.values() for label in labels})
    if "test" not in splits:
        if "all" not in splits:
            raise UserError(f"{local.name} has no test split; give {local.name}.test.parquet.")
        splits["train"], splits["test"] = _split(*splits["all"], seed)
    texts, labels = splits["test"]
    if max_test_texts is not None and max_test_texts < len(texts):
        rows = np.sort(np.random.default_rng(seed).choice(len(texts), max_test_texts, replace=False))
        texts, labels = _at(texts, rows), _at(labels, rows)
    samples = SAMPLES_PER_LABEL.get(local.name, MTEB_SAMPLES_PER_LABEL)
    return ClassificationSet(local.name, classes, texts, labels, *splits.get("train", ([], [])), samples)


def _split(texts: list[str], labels: list[str], seed: int) -> list[tuple[list[str], list[str]]]:
    """A training and a test part."""
    order = np.random.default_rng(seed).permutation(len(texts))
    test = max(1, round(TEST_SHARE * len(texts)))
    return [(_at(texts, rows), _at(labels, rows)) for rows in (order[test:], order[:test])]


def _at(values: list[str], rows: np.ndarray) -> list[str]:
    return [values[row] for row in rows]


def label_text(label: str) -> str:
    """A label's name in words: underscores, hyphens, dots, number signs and CamelCase become spaces."""
    return " ".join(_BOUNDARY.sub(" ", label).split()) or label


def class_embeddings(
    encoder: Encoder,
    classes: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    descriptions: dict[str, str] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """What stands for the classes in zero-shot classification: unit vectors, float32, (classes, dimension).

    Each is the mean of the unit vectors of its prompts, normalised again (Radford et al. 2021, arXiv:2103.00020,
    section 3.1.4).

    Args:
        encoder: Embeds the prompts.
        classes: Their names.
        templates: Each makes a prompt of the class's words, which take the place of `{}`.
        descriptions: Class → words, where its name in words ([`label_text`]) does not say what is meant.
        batch_size: Prompts a forward pass, at most.

    Raises:
        UserError: A template has no `{}`, a description is of no class, or classes are called by numbers.
    """
    descriptions = descriptions or {}
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        given = repr(wrong[0]) if wrong else "none"
        raise UserError(f"Templates must hold {{}}, where the label goes, such as {TEMPLATES[1]!r}, not {given}.")
    if unknown := [label for label in descriptions if label not in classes]:
        raise UserError(f"There is no class {unknown[0]!r} to describe; the classes are {_listed(classes)}.")
    words = [descriptions.get(label, label_text(label)) for label in classes]
    if numbers := [word for word in words if not re.search(r"[^\W\d_]", word)]:
        raise UserError(f"Zero-shot needs classes in words, not {_listed(numbers)}; give each a description.")
    prompts = [template.replace("{}", word) for word in words for template in templates]
    vectors = encoder.encode(prompts, batch_size=batch_size).reshape(len(words), len(templates), -1).mean(axis=1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:10]) + (", …" if len(values) > 10 else "")


def mteb_draws(labels: Sequence[str], samples_per_label: int) -> list[np.ndarray]:
    """The rows that MTEB's ten experiments train on (`AbsTaskClassification._undersample_data`, mteb 2.26), int64.

    Each experiment shuffles the previous one's order with the same seed and takes the first texts of each class; all,
    if a class has fewer. So those drawn for 8 are among those drawn for 16.
    """
    order, draws = list(range(len(labels))), []
    for _ in range(DRAWS):
        np.random.RandomState(MTEB_SEED).shuffle(order)
        taken: Counter[str] = Counter()
        rows = []
        for row in order:
            if taken[labels[row]] < samples_per_label:
                taken[labels[row]] += 1
                rows.append(row)
        draws.append(np.array(rows, np.int64))
    return draws


def measure_classification(
    encoders: Sequence[Encoder],
    sets: Iterable[ClassificationSet],
    *,
    zero_shot: bool = True,
    frozen: bool = True,
    few_shot: Sequence[int] = FEW_SHOT,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
) -> list[ClassificationResult]:
    """Measures encoders on labelled sets; each embeds a text once, whatever the settings.

    Args:
        encoders: At least one; retention is against the first.
        sets: Read one after the other, if they are a generator. One without training texts has only zero-shot.
        zero_shot: Whether to measure it.
        frozen: Whether to measure with as many texts of a class as MTEB has for the set.
        few_shot: With how many texts of a class to measure besides.
        templates: Of zero-shot; see [`class_embeddings`].
        batch_size: Texts a forward pass, at most.

    Returns:
        Lines by set, setting and encoder, in this order.

    Raises:
        UserError: Two encoders have one name, a number of few_shot is below 1, a set has a single class, an argument
            of zero-shot is wrong, or an encoder gives a vector that is not finite.
    """
    name, count = Counter(encoder.name for encoder in encoders).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} models are called {name}, which no table could tell apart; rename their folders.")
    if few_shot and min(few_shot) < 1:
        raise UserError(f"Few-shot needs at least 1 text of a class, not {min(few_shot)}.")
    metric = load_metric("classification")
    samples = {f"few-shot {number}": number for number in few_shot}
    lines = []
    for data in tqdm(sets, desc="Classifying", unit=" sets", disable=None):
        settings = {"frozen": data.samples_per_label, **samples} if frozen else samples
        settings = settings if data.train_texts else {}
        scores = [
            _measure(encoder, data, settings, templates if zero_shot else None, metric, batch_size)
            for encoder in encoders
        ]
        for setting in scores[0]:
            first = np.mean(scores[0][setting], axis=0)[0]
            for encoder, own in zip(encoders, scores, strict=True):
                lines.append(_result(data, setting, settings.get(setting), encoder.name, own[setting], first))
    return lines


def _measure(
    encoder: Encoder,
    data: ClassificationSet,
    settings: dict[str, int],
    templates: Sequence[str] | None,
    metric: "EvaluationModule",
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Setting → accuracy and macro-F1 × 100 of each draw, (draws, 2); zero-shot has one."""
    for kind, labels in (("texts", set(data.classes)), ("training texts", set(data.train_labels))):
        if len(labels) == 1:
            raise UserError(f"{data.name} has {kind} of a single class, {labels.pop()}; give at least two.")
    number = {label: index for index, label in enumerate(data.classes)}
    test_classes = np.array([number[label] for label in data.test_labels])
    train_classes = np.array([number[label] for label in data.train_labels])
    test = encoder.encode(data.test_texts, batch_size=batch_size)

    def score(predictions: np.ndarray) -> tuple[float, float]:
        found = metric.compute(predictions=predictions, references=test_classes)
        return 100 * found["accuracy"], 100 * found["macro_f1"]

    scores = {}
    if templates is not None:
        classes = class_embeddings(encoder, data.classes, templates, data.descriptions, batch_size)
        scores["zero-shot"] = np.array([score((test @ classes.T).argmax(axis=1))])
    if not settings:
        return scores
    draws = {samples: mteb_draws(data.train_labels, samples) for samples in set(settings.values())}
    # The largest draws hold the others, but not all training texts.
    rows = np.unique(np.concatenate(draws[max(draws)]))
    train = encoder.encode(_at(data.train_texts, rows), batch_size=batch_size)
    by_samples = {}
    for samples, drawn in draws.items():
        fits = (_predictions(train[np.searchsorted(rows, row)], train_classes[row], test) for row in drawn)
        by_samples[samples] = np.array([score(predictions) for predictions in fits])
    return scores | {setting: by_samples[samples] for setting, samples in settings.items()}


def _predictions(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    return LogisticRegression(max_iter=100, random_state=MTEB_SEED).fit(train, classes).predict(test)


def _result(
    data: ClassificationSet, setting: str, samples: int | None, model: str, scores: np.ndarray, first: float
) -> ClassificationResult:
    means = scores.mean(axis=0)
    deviations = [float(value) for value in scores.std(axis=0, ddof=1)] if len(scores) > 1 else [None, None]
    counts = Counter(data.train_labels)
    return ClassificationResult(
        set=data.name,
        setting=setting,
        model=model,
        accuracy=float(means[0]),
        accuracy_sd=deviations[0],
        macro_f1=float(means[1]),
        macro_f1_sd=deviations[1],
        retention=float(means[0] / first) if first > 0 else None,
        test_texts=len(data.test_texts),
        classes=len(data.classes),
        majority=100 * Counter(data.test_labels).most_common(1)[0][1] / len(data.test_labels),
        short_classes=sum(counts[label] < (samples or 0) for label in data.classes),
        accuracies=[float(accuracy) for accuracy in scores[:, 0]],
    )


def single_result(
    data: ClassificationSet, setting: str, model: str, accuracy: float, macro_f1: float
) -> ClassificationResult:
    """The line of a single training on all training texts; its scores × 100. No other encoder has such a one."""
    line = _result(data, setting, None, model, np.array([[accuracy, macro_f1]]), 0.0)
    return replace(line, retention=None)


def mean_results(results: Sequence[ClassificationResult]) -> list[ClassificationResult]:
    """A line for each setting and encoder, with the means over the sets; retention is the ratio of mean accuracies."""
    groups: dict[tuple[str, str], list[ClassificationResult]] = defaultdict(list)
    for result in results:
        groups[result.setting, result.model].append(result)
    first: dict[str, float] = {}
    means = []
    for (setting, model), own in groups.items():
        accuracy = float(np.mean([result.accuracy for result in own]))
        first.setdefault(setting, accuracy)
        means.append(
            ClassificationResult(
                set=f"mean of {len(own)} sets",
                setting=setting,
                model=model,
                accuracy=accuracy,
                accuracy_sd=None,
                macro_f1=float(np.mean([result.macro_f1 for result in own])),
                macro_f1_sd=None,
                retention=accuracy / first[setting] if own[0].retention is not None and first[setting] > 0 else None,
                test_texts=sum(result.test_texts for result in own),
                classes=sum(result.classes for result in own),
                short_classes=sum(result.short_classes for result in own),
                majority=float(np.mean([result.majority for result in own])),
                accuracies=[result.accuracy for result in own],
            )
        )
    return means


def markdown_table(results: Sequence[ClassificationResult]) -> str:
    """The results as a Markdown table, one line each, in their order."""
    head = ["set", "setting", "model", "accuracy", "macro-F1", "of the first's", "majority", "test texts", "classes"]
    lines = [head, [*["---"] * 3, *["---:"] * 6]]
    for result in results:
        short = f" ({result.short_classes} short)" if result.short_classes else ""
        lines.append(
            [
                result.set,
                result.setting,
                result.model,
                _with_deviation(result.accuracy, result.accuracy_sd),
                _with_deviation(result.macro_f1, result.macro_f1_sd),
                "–" if result.retention is None else f"{result.retention:.1%}",
                f"{result.majority:.2f}",
                f"{result.test_texts:,}",
                f"{result.classes}{short}",
            ]
        )
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _with_deviation(mean: float, deviation: float | None) -> str:
    return f"{mean:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
