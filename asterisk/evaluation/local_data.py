"""Convert local files to the data of MTEB's task classes."""

import hashlib
import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import mteb
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskClassification, AbsTaskPairClassification
from mteb.abstasks.task_metadata import TaskMetadata

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError, listed, one_line, short
from asterisk.evaluation.local_tasks import COLUMNS, LocalTask
from asterisk.evaluation.sts import SentencePairs

SUFFIX = ".parquet"
# MTEB's class and main score for local tasks without an MTEB task.
DEFAULTS: dict[str, tuple[Any, str]] = {
    "Classification": (AbsTaskClassification, "accuracy"),
    "PairClassification": (AbsTaskPairClassification, "max_ap"),
}


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


# Kinds of column: the name in messages, and the check of a value.
TEXT, NUMBER, LABEL = "text", "a finite number", "a label (a word or a number)"
CHECKS: dict[str, Callable[[Any], bool]] = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: _is_number,
    LABEL: lambda value: isinstance(value, (str, Real)),
}


def mteb_task(task: LocalTask, folder: Path) -> Any:
    """Create MTEB's task object for a local task, without data; the revision of the data is the hash of its files.

    Raises:
        UserError: A file or column is missing.
    """
    files = data_files(task, folder)
    for name, file in files.items():
        _check_file(file, _columns_of(task, name), task.name)
    revision = hashlib.sha256("".join(file_hash(file) for file in files.values()).encode()).hexdigest()
    changes: dict[str, Any] = {
        "name": task.name,
        "dataset": {"path": str(folder), "revision": revision},
        "eval_splits": ["test"],
    }
    if task.mteb_name:
        base: Any = type(mteb.get_task(task.mteb_name))
        languages = base.metadata.eval_langs
        changes["eval_langs"] = {"en": languages["en"]} if isinstance(languages, dict) else languages
        metadata = base.metadata.model_copy(update=changes)
    else:
        base = DEFAULTS[task.type][0]
        metadata = local_metadata(description=task.remark, task_type=task.type, **changes)
    # The metadata sits on a new class, because unloading the data deletes an instance's metadata.
    instance = type(base.__name__, (base,), {"metadata": metadata})()
    if task.type == "PairClassification":
        instance.input1_column_name, instance.input2_column_name, instance.label_column_name = COLUMNS[task.type]
    if task.type == "Classification" and not task.train:
        instance.is_cross_validation, instance.train_split = True, "test"
    return instance


def local_metadata(name: str, task_type: str, dataset: Any, **more: Any) -> TaskMetadata:
    """Return the metadata, for MTEB's classes, of a task that MTEB does not have."""
    return TaskMetadata(
        name=name,
        dataset=dataset,
        type=task_type,  # type: ignore[arg-type]
        category="t2c" if task_type == "Classification" else "t2t",
        eval_langs=["eng-Latn"],
        main_score=DEFAULTS[task_type][1],
        **{"description": name, "eval_splits": ["test"], **more},
    )


def load_data(task: LocalTask, instance: Any, folder: Path) -> None:
    """Load the data of a task object from [`mteb_task`]; raise a [`UserError`] if a value is missing."""
    data = LOADERS[task.type](task, folder, task.columns or COLUMNS[task.type])
    subset = instance.hf_subsets[0]
    # MTEB keys retrieval data by subset; other data only if there are several subsets.
    instance.dataset = {subset: data} if task.type == "Retrieval" or subset != "default" else data
    instance.data_loaded = True


def data_files(task: LocalTask, folder: Path) -> dict[str, Path]:
    """Map the names of a task's files to their paths."""
    return {name: folder / f"{name}{SUFFIX}" for name in (*task.train, *task.test)}


def sentence_pairs(task: LocalTask, folder: Path) -> SentencePairs | None:
    """Read the pairs and human scores of an STS task; None for another type."""
    if task.type != "STS":
        return None
    first, second, scores = _read(folder, task.test, task.columns or COLUMNS["STS"], (TEXT, TEXT, NUMBER))
    return SentencePairs(task.name, first, second, [float(score) for score in scores])


def _columns_of(task: LocalTask, file: str) -> tuple[str, ...]:
    columns = task.columns or COLUMNS[task.type]
    if task.type != "Retrieval":
        return columns
    return columns[2:] if file.endswith("qrels") else columns[:2]


def _check_file(file: Path, columns: Sequence[str], task: str) -> None:
    if not file.is_file():
        raise UserError(f"There is no file {file}, which the task {task} needs; add it or leave out the task.")
    try:
        found = pq.read_schema(file).names
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file} cannot be read as Parquet: {one_line(error)}.") from None
    for column in columns:
        if column not in found:
            raise UserError(
                f"{file} has no column {column!r}, which the task {task} needs; it has {', '.join(found)}."
            )


def _read(folder: Path, names: Sequence[str], columns: Sequence[str], kinds: Sequence[str]) -> list[list[Any]]:
    """Read columns of these kinds, each concatenated over the files."""
    values: list[list[Any]] = [[] for _ in columns]
    for name in names:
        file = folder / f"{name}{SUFFIX}"
        table = pq.read_table(file, columns=list(columns))
        for index, column in enumerate(columns):
            cells = table[column].to_pylist()
            # NaN is the only value that differs from itself.
            if missing := [row for row, value in enumerate(cells) if value is None or value != value]:
                raise UserError(f"{file}: row {missing[0]} has no {column!r}; correct or delete the row.")
            if wrong := [row for row, value in enumerate(cells) if not CHECKS[kinds[index]](value)]:
                raise UserError(
                    f"{file}: row {wrong[0]} of column {column!r} holds {short(cells[wrong[0]])} instead of "
                    f"{kinds[index]}."
                )
            values[index] += cells
    if names and not values[0]:
        raise UserError(f"{folder / names[0]}{SUFFIX} has no rows.")
    return values


def _load_sts(task: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    first, second, scores = _read(folder, task.test, columns, (TEXT, TEXT, NUMBER))
    if len(set(scores)) < 2:
        raise UserError(f"{folder / task.test[0]}{SUFFIX} must have at least two pairs with different scores.")
    pairs = {"sentence1": first, "sentence2": second, "score": [float(score) for score in scores]}
    return DatasetDict(test=Dataset.from_dict(pairs))


def _load_classification(task: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    parts = (("train", task.train), ("test", task.test))
    splits = {split: _read(folder, names, columns, (TEXT, LABEL)) for split, names in parts}
    found = {label for _, labels in splits.values() for label in labels}
    if len({isinstance(label, str) for label in found}) > 1:
        raise UserError(f"The labels of {task.name} in {folder} are words and numbers; use one kind.")
    if task.labels and (unknown := found.difference(task.labels)):
        raise UserError(f"{task.name} has the labels {listed(task.labels)}, but {folder} also has {unknown.pop()!r}.")
    names = task.labels or sorted(found)
    return classification_data({split: (texts, labels) for split, (texts, labels) in splits.items() if texts}, names)


def classification_data(splits: dict[str, tuple[list[str], list[str]]], classes: Sequence[str]) -> DatasetDict:
    """Convert to the format of MTEB's classification: columns `text` and `label` (a class number)."""
    number = {label: index for index, label in enumerate(classes)}
    data = {
        split: Dataset.from_dict({"text": texts, "label": [number[label] for label in labels]})
        for split, (texts, labels) in splits.items()
    }
    # MTEB reads labels one by one for each draw; the pandas format makes this a hundred times faster.
    return DatasetDict(data).with_format("pandas")


def _load_pairs(task: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    first, second, labels = _read(folder, task.test, columns, (TEXT, TEXT, LABEL))
    classes = task.labels or ("0", "1")
    # Booleans and whole floats, as pandas writes integers beside nulls, are numbers of classes.
    names = [label if isinstance(label, str) else f"{float(label):g}" for label in labels]
    if unknown := set(names).difference(classes):
        raise UserError(f"{task.name} has the labels {listed(classes)}, but {folder} also has {unknown.pop()!r}.")
    numbers = [int(name == classes[-1]) for name in names]
    return DatasetDict(test=Dataset.from_dict({"sentence1": first, "sentence2": second, "label": numbers}))


def _load_clustering(task: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    texts, labels = _read(folder, task.test, columns, (TEXT, LABEL))
    kept = [(text, label) for text, label in zip(texts, labels, strict=True) if text.strip()]
    # In MTEB's older clustering tasks, one row is a whole set.
    one_set = {"sentences": [[text for text, _ in kept]], "labels": [[label for _, label in kept]]}
    return DatasetDict(test=Dataset.from_dict(one_set))


def _load_retrieval(task: LocalTask, folder: Path, columns: tuple[str, ...]) -> dict[str, Any]:
    corpus, queries, judgements = task.test
    ids, titles, texts = _read(folder, [corpus], (columns[0], "title", columns[1]), (TEXT,) * 3)
    query_ids, questions = _read(folder, [queries], columns[:2], (TEXT, TEXT))
    relevant: dict[str, dict[str, int]] = {}
    for query, document, score in zip(*_read(folder, [judgements], columns[2:], (TEXT, TEXT, NUMBER)), strict=True):
        relevant.setdefault(query, {})[document] = score
    return {
        "test": {
            "corpus": Dataset.from_dict({"id": ids, "title": titles, "text": texts}),
            "queries": Dataset.from_dict({"id": query_ids, "text": questions}),
            "relevant_docs": relevant,
            "top_ranked": None,
        }
    }


LOADERS: dict[str, Callable[[LocalTask, Path, tuple[str, ...]], Any]] = {
    "STS": _load_sts,
    "Classification": _load_classification,
    "PairClassification": _load_pairs,
    "Clustering": _load_clustering,
    "Retrieval": _load_retrieval,
}
