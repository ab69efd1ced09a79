"""Classification with embeddings: without training, and from few labelled texts by MTEB's protocol.

These are the settings of FEET (Lee et al. 2024, arXiv:2411.01322) that leave the encoder unchanged;
[`asterisk.evaluation.fine_tuned`] has the other one:

- zero-shot: the class whose label, in words, has the nearest embedding;
- linear probe (FEET's "frozen"): MTEB's classification, with MTEB's number of training texts per label for the set;
- few-shot N: the same with N training texts per label.

The last two run MTEB's `AbsTaskClassification`: ten draws of training texts, the same for every encoder, and a
logistic regression on the embeddings of each draw.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb.abstasks import AbsTaskClassification
from mteb.abstasks.task_metadata import TaskMetadata
from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import ClassificationSet
from asterisk.evaluation.local_data import classification_data, local_metadata
from asterisk.evaluation.metrics.functions import load_metric
from asterisk.evaluation.mteb_runner import MtebEncoder, quiet
from asterisk.evaluation.zero_shot import TEMPLATES, class_embeddings
from asterisk.models.encoder import TextEncoder
from asterisk.reporting.page import Table, percent

FEW_SHOT = (8, 16, 64)
LINEAR_PROBE, ZERO_SHOT = "linear probe", "zero-shot"


@dataclass
class ClassificationResult:
    """One encoder's row in the table: means over the draws × 100, with standard deviations if there are several.

    `setting` is "zero-shot", "linear probe", "few-shot N" or "fine-tuned". `retention` is accuracy ÷ the first
    encoder's accuracy, None if that is 0. `short_classes` is the number of classes with fewer training texts than the
    setting draws; all of these texts are used. `majority` is the accuracy of always predicting the most frequent test
    class.
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


def measure_classification(
    encoders: Sequence[TextEncoder],
    sets: Iterable[ClassificationSet],
    *,
    zero_shot: bool = True,
    linear_probe: bool = True,
    few_shot: Sequence[int] = FEW_SHOT,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
) -> list[ClassificationResult]:
    """Measure encoders on labelled sets; each encoder embeds a text once for all settings.

    Args:
        encoders: At least one; retention is relative to the first.
        sets: Labelled sets; a set without training texts is measured zero-shot only.
        zero_shot: Whether to measure zero-shot, with the prompts that `templates` make ([`class_embeddings`]).
        linear_probe: Whether to measure with MTEB's number of training texts per label for the set.
        few_shot: Numbers of training texts per label to measure with.
        templates: Zero-shot prompts.
        batch_size: Maximum number of texts in a forward pass.

    Returns:
        Rows ordered by set, setting and encoder.

    Raises:
        UserError: Two encoders share a name, a number is below 1, or a set has a single class.
    """
    name, count = Counter(encoder.name for encoder in encoders).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} models share the name {name}; rename their folders.")
    if few_shot and min(few_shot) < 1:
        raise UserError(f"Few-shot needs at least 1 text per label, not {min(few_shot)}.")
    models = [MtebEncoder(encoder) for encoder in encoders]
    results = []
    for data in tqdm(sets, desc="Classifying", unit=" sets", disable=None):
        samples = {f"few-shot {number}": number for number in few_shot}
        if linear_probe:
            samples = {LINEAR_PROBE: data.samples_per_label, **samples}
        if not data.train_texts:
            samples = {}
        scores = [_measure(model, data, samples, templates if zero_shot else None, batch_size) for model in models]
        for setting in scores[0]:
            baseline = np.mean(scores[0][setting], axis=0)[0]
            for encoder, by_setting in zip(encoders, scores, strict=True):
                draws = by_setting[setting]
                results.append(_result(data, setting, samples.get(setting), encoder.name, draws, baseline))
    return results


def _measure(
    model: MtebEncoder,
    data: ClassificationSet,
    samples: dict[str, int],
    templates: Sequence[str] | None,
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Return setting → accuracy and macro-F1 × 100 of each draw (draws, 2); zero-shot has one row."""
    for kind, labels in (("texts", set(data.classes)), ("training texts", set(data.train_labels))):
        if len(labels) == 1:
            raise UserError(f"{data.name} has {kind} of a single class, {labels.pop()}; give at least two.")
    scores: dict[str, np.ndarray] = {}
    if templates is not None:
        scores[ZERO_SHOT] = _zero_shot_scores(model, data, templates, batch_size)
    by_samples = {number: _probe_scores(model, data, number, batch_size) for number in sorted({*samples.values()})}
    return scores | {setting: by_samples[number] for setting, number in samples.items()}


def _zero_shot_scores(
    model: MtebEncoder, data: ClassificationSet, templates: Sequence[str], batch_size: int
) -> np.ndarray:
    classes = class_embeddings(model.encoder, data.classes, templates, data.descriptions, batch_size)
    # Embed through MTEB's interface, which caches the vectors for the linear probe.
    texts = [{"text": data.test_texts}]
    vectors = model.encode(texts, task_metadata=_metadata(data), batch_size=batch_size)
    number = {label: index for index, label in enumerate(data.classes)}
    references = [number[label] for label in data.test_labels]
    predictions = (vectors @ classes.T).argmax(axis=1)
    values = load_metric("classification").compute(predictions=predictions, references=references)
    return 100 * np.array([[values["accuracy"], values["macro_f1"]]])


def _probe_scores(model: MtebEncoder, data: ClassificationSet, samples: int, batch_size: int) -> np.ndarray:
    """Run MTEB's classification with `samples` training texts per label."""
    attributes = {"metadata": _metadata(data), "samples_per_label": samples}
    task = type("LinearProbe", (AbsTaskClassification,), attributes)()
    splits = {"train": (data.train_texts, data.train_labels), "test": (data.test_texts, data.test_labels)}
    task.dataset, task.data_loaded = classification_data(splits, data.classes), True
    with quiet():
        result = task.evaluate(model, encode_kwargs={"batch_size": batch_size, "show_progress_bar": False})
    experiments = result["default"]["scores_per_experiment"]
    return 100 * np.array([[scores["accuracy"], scores["f1"]] for scores in experiments])


def _metadata(data: ClassificationSet) -> TaskMetadata:
    return local_metadata(data.name, "Classification", {"path": data.name, "revision": "local"})


def _result(
    data: ClassificationSet, setting: str, samples: int | None, model: str, scores: np.ndarray, baseline: float
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
        retention=float(means[0] / baseline) if baseline > 0 else None,
        test_texts=len(data.test_texts),
        classes=len(data.classes),
        majority=100 * Counter(data.test_labels).most_common(1)[0][1] / len(data.test_labels),
        short_classes=sum(counts[label] < (samples or 0) for label in data.classes),
        accuracies=[float(accuracy) for accuracy in scores[:, 0]],
    )


def single_result(
    data: ClassificationSet, setting: str, model: str, accuracy: float, macro_f1: float
) -> ClassificationResult:
    """Return the row of a single training on all training texts, without retention; scores are × 100."""
    return _result(data, setting, None, model, np.array([[accuracy, macro_f1]]), baseline=0.0)


def mean_results(results: Sequence[ClassificationResult]) -> list[ClassificationResult]:
    """Average over the sets: one row per setting and encoder; retention is the ratio of mean accuracies."""
    groups: dict[tuple[str, str], list[ClassificationResult]] = defaultdict(list)
    for result in results:
        groups[result.setting, result.model].append(result)
    first: dict[str, float] = {}
    means = []
    for (setting, model), group in groups.items():
        mean: dict[str, Any] = {
            name: float(np.mean([getattr(result, name) for result in group]))
            for name in ("accuracy", "macro_f1", "majority")
        }
        total: dict[str, Any] = {
            name: sum(getattr(result, name) for result in group) for name in ("test_texts", "classes", "short_classes")
        }
        baseline = first.setdefault(setting, mean["accuracy"])
        has_retention = group[0].retention is not None and baseline > 0
        means.append(
            ClassificationResult(
                set=f"mean of {len(group)} sets",
                setting=setting,
                model=model,
                accuracy_sd=None,
                macro_f1_sd=None,
                retention=mean["accuracy"] / baseline if has_retention else None,
                accuracies=[result.accuracy for result in group],
                **mean,
                **total,
            )
        )
    return means


def classification_table(results: Sequence[ClassificationResult]) -> str:
    """Format the results as a Markdown table, one row each, in their order."""
    head = ["set", "setting", "model", "accuracy", "macro-F1", "retention", "majority", "test texts", "classes"]
    rows = [
        [
            result.set,
            result.setting,
            result.model,
            _with_deviation(result.accuracy, result.accuracy_sd),
            _with_deviation(result.macro_f1, result.macro_f1_sd),
            percent(result.retention),
            f"{result.majority:.2f}",
            f"{result.test_texts:,}",
            f"{result.classes}" + (f" ({result.short_classes} short)" if result.short_classes else ""),
        ]
        for result in results
    ]
    return Table(head, rows, "lllrrrrrr").markdown()


def _with_deviation(mean: float, deviation: float | None) -> str:
    return f"{mean:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
