"""How well embeddings tell classes apart: without training, from few labelled texts, and as MTEB measures it.

Settings of FEET (Lee et al. 2024, arXiv:2411.01322) that leave the encoder as it is; the other one is in
[`asterisk.evaluation.fine_tuned`]:

- zero-shot: a text's class is the one whose label, put into words, has the nearest embedding;
- frozen: MTEB's classification, a logistic regression on embeddings of as many texts of a class as MTEB draws;
- few-shot N: the same from N texts of a class.

The last two are repeated with ten draws of training texts, the same for every encoder.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.evaluation.metrics.functions import load_metric
from asterisk.models.encoder import Encoder

if TYPE_CHECKING:
    from evaluate import EvaluationModule
from asterisk.data.labelled_sets import MTEB_SEED, ClassificationSet, _at
from asterisk.evaluation.zero_shot import TEMPLATES, class_embeddings

DRAWS = 10


FEW_SHOT = (8, 16, 64)


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
