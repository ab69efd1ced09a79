"""What a model is measured on: MTEB's tasks from the Hub, or the same task classes on local files."""

import difflib
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mteb
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskPairClassification
from mteb.abstasks.task_metadata import TaskMetadata

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.evaluation.sts import SentencePairs

STS5 = ("STS12", "STS13", "STS14", "STS15", "STSBenchmark")
# Groups that are the tasks of one type: locally all there are, on the Hub those of this benchmark.
TYPES = {
    "classification": "Classification",
    "clustering": "Clustering",
    "retrieval": "Retrieval",
    "pairs": "PairClassification",
}
TYPES_BENCHMARK = "MTEB(eng, v2)"
BENCHMARKS = ("MTEB(eng, v2)", "MTEB(eng, v1)")
GROUPS = ("sts5", "sts7", *TYPES)

SUFFIX = ".parquet"
# Of two classes, in this order, those whose names do not sort so.
COUNTERFACTUAL = ("not-counterfactual", "counterfactual")


@dataclass(frozen=True)
class LocalTask:
    """Which local files feed which task. Files are named without `.parquet`, relative to the data folder."""

    # As in results: MTEB's own name only where rows and splits are MTEB's own.
    name: str
    type: str
    # The files whose rows, one file's after the other's, are scored; of retrieval: corpus, queries, judgements.
    test: tuple[str, ...]
    # Where samples are drawn from, of classification; none means five-fold cross-validation over `test`.
    train: tuple[str, ...] = ()
    # What `NAME:dev` scores instead of `test`.
    dev: tuple[str, ...] = ()
    # The MTEB task whose class and settings run; none means those that MTEB has for the type.
    mteb_name: str = ""
    # The files' columns, in the order that the type needs them.
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    # In what the file differs from MTEB's own, or where it is from.
    remark: str = ""


# The columns that each type needs, as its files name them unless a row says otherwise.
COLUMNS = {
    "STS": ("sentence1", "sentence2", "score"),
    "Classification": ("text", "label"),
    "PairClassification": ("sentence1", "sentence2", "label"),
    "Clustering": ("text", "label"),
    "Retrieval": ("_id", "text", "query-id", "corpus-id", "score"),
}


def _sts(name: str, *test: str, **more: Any) -> LocalTask:
    return LocalTask(name, "STS", tuple(f"sts/{file}" for file in test), **{"mteb_name": name, **more})


def _classes(name: str, file: str, mteb_name: str = "", splits: str = "train dev test", **more: Any) -> LocalTask:
    train, dev, test = (
        (f"classification/{file}.{split}",) if split in splits.split() else () for split in ("train", "dev", "test")
    )
    return LocalTask(name, "Classification", **{"test": test, "train": train, "dev": dev, **more}, mteb_name=mteb_name)


BANKING, TWEETS, IMDB = (f"{name}Classification" for name in ("Banking77", "TweetSentimentExtraction", "Imdb"))
COUNTERFACTUAL_TASK, EMOTION = "AmazonCounterfactualClassification", "EmotionClassification"
SLURP: dict[str, Any] = {"splits": "", "train": ("classification/Slurp.dev",), "test": ("classification/Slurp.test",)}
SLURP_REMARK = (
    "SLURP, the English source of MASSIVE: its own, more numerous labels; samples are drawn from its dev part"
)
NO_SPLIT = "no split: five-fold cross-validation"
OFFICIAL = "official splits; not a task of MTEB"

LOCAL_TASKS = (
    _sts("STS12", "STS12.test"),
    _sts("STS13", "STS13.test"),
    _sts("STS14", "STS14.test"),
    _sts("STS15", "STS15.test"),
    _sts("STS16", "STS16.test"),
    _sts("STSBenchmark", "STSBenchmark.test", dev=("sts/STSBenchmark.dev",)),
    _sts("SICK-R", "SICK-R.train", "SICK-R.dev", "SICK-R.test", dev=("sts/SICK-R.dev",)),
    _sts(
        "SICK-R (test)",
        "SICK-R.test",
        mteb_name="SICK-R",
        remark="the 4,927 test pairs, as SentEval, SimCSE and HPD report it; MTEB's SICK-R is all 9,927 pairs",
    ),
    _sts(
        "BIOSSES (original)",
        "BIOSSES.test",
        mteb_name="BIOSSES",
        remark="from its authors' repository; MTEB's copy is not the same to the letter",
    ),
    _classes(BANKING, "Banking77", BANKING, "train test"),
    _classes(
        COUNTERFACTUAL_TASK, "AmazonCounterfactual", COUNTERFACTUAL_TASK, labels=COUNTERFACTUAL, remark="subset en"
    ),
    _classes(EMOTION, "Emotion", EMOTION),
    _classes(
        f"{TWEETS} (27,480 train)",
        "TweetSentimentExtraction",
        TWEETS,
        "train test",
        remark="without the one empty text of MTEB's train part, so that other samples are drawn",
    ),
    _classes(
        "MassiveIntentClassification (SLURP)",
        "Slurp",
        "MassiveIntentClassification",
        **{**SLURP, "columns": ("text", "intent"), "remark": SLURP_REMARK},
    ),
    _classes(
        "MassiveScenarioClassification (SLURP)",
        "Slurp",
        "MassiveScenarioClassification",
        **{**SLURP, "columns": ("text", "scenario"), "remark": SLURP_REMARK},
    ),
    _classes(
        "NewsClassification (test)",
        "AGNews",
        "NewsClassification",
        splits="test",
        remark=f"AG News, official test part alone; {NO_SPLIT}",
    ),
    _classes(
        "ToxicConversationsClassification (JigsawBalanced)",
        "JigsawBalanced",
        "ToxicConversationsClassification",
        splits="",
        test=("classification/JigsawBalanced.all",),
        remark=f"a balanced stand-in from another Jigsaw set; {NO_SPLIT}",
    ),
    _classes("Clinc150", "Clinc150", remark=OFFICIAL),
    _classes(
        "Clinc150OutOfScope (dev as train)",
        "Clinc150OutOfScope",
        splits="test",
        train=("classification/Clinc150OutOfScope.dev",),
        remark="samples are drawn from the dev part, the only other one with out-of-scope texts",
    ),
    _classes("HWU64", "HWU64", remark=OFFICIAL),
    _classes("SNIPS", "SNIPS", remark=OFFICIAL),
    _classes("ATIS", "ATIS", remark=OFFICIAL),
    _classes("TweetEval-offensive", "TweetEval-offensive", remark=OFFICIAL),
    _classes("TweetEval-hate", "TweetEval-hate", remark=OFFICIAL),
    _classes("TweetEval-emotion", "TweetEval-emotion", remark=OFFICIAL),
    _classes("SST2", "SST2", remark="SentEval's copy, with phrases in train; not a task of MTEB"),
    _classes("MR", "MR", splits="", test=("classification/MR.all",), remark=f"not a task of MTEB; {NO_SPLIT}"),
    LocalTask(
        "MRPC", "PairClassification", ("pairs/MRPC.test",), dev=("pairs/MRPC.train",), remark="dev is its train part"
    ),
    LocalTask("QuoraPairs (dev)", "PairClassification", ("pairs/QuoraPairs.dev",), remark="balanced; no test part"),
    LocalTask(
        "SNLI",
        "PairClassification",
        ("pairs/SNLI.test",),
        dev=("pairs/SNLI.dev",),
        columns=("premise", "hypothesis", "label"),
        labels=("1", "2", "0"),
        remark="entailment against the rest",
    ),
    LocalTask(
        "TwentyNewsgroupsClustering (train subjects)",
        "Clustering",
        ("clustering/TwentyNewsgroups.train",),
        mteb_name="TwentyNewsgroupsClustering",
        columns=("subject", "label"),
        remark="subjects as in MTEB, of the train part in one set; MTEB's are ten sets of all parts",
    ),
    LocalTask(
        "SciFact",
        "Retrieval",
        ("retrieval/SciFact.corpus", "retrieval/SciFact.queries", "retrieval/SciFact.qrels"),
        mteb_name="SciFact",
    ),
    _classes(IMDB, "Imdb", IMDB, "train test"),
)


@dataclass
class EvaluationTask:
    """One task that can be run."""

    name: str
    # "local" or "hub".
    source: str
    # Without its data if that is local.
    task: AbsTask
    # Fills in the data of a local task.
    load: Callable[[], None] = lambda: None
    files: list[str] = field(default_factory=list)
    remark: str = ""


def find_tasks(text: str, data_dir: str | None = None) -> list[EvaluationTask]:
    """The tasks that `--tasks` names, each once, checked as far as that goes without reading their data.

    Args:
        text: Names of tasks, groups ([`GROUPS`]) and benchmarks ([`BENCHMARKS`]), separated by commas. With a data
            folder, `NAME:dev` is a task's development part.
        data_dir: The folder that [`LOCAL_TASKS`] names files of; then nothing comes from the Hub.

    Raises:
        UserError: There is no such task, or a file or column that a task needs is missing.
    """
    # A comma inside parentheses belongs to a name, as in MTEB(eng, v2).
    names = [name.strip() for name in re.split(r",(?![^()]*\))", text) if name.strip()]
    if not names:
        raise UserError(f"--tasks names no task; give a task, a group ({', '.join(GROUPS)}) or a benchmark.")
    if data_dir is None:
        return list({task.name: task for name in names for task in _hub_tasks(name)}.values())
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"There is no data folder {data_dir}; --data_dir takes one with sts/, classification/ and so on."
        )
    rows = [row for name in names for row in local_rows(name)]
    return [local_task(row, folder) for row in dict.fromkeys(rows)]


def group_members(local: bool) -> dict[str, list[str]]:
    """The names of the tasks of each group, and, on the Hub, of each benchmark."""
    if local:
        types = {group: [row.name for row in LOCAL_TASKS if row.type == kind] for group, kind in TYPES.items()}
        return {"sts5": [*STS5], "sts7": [*STS5, "STS16", "SICK-R (test)"], **types}
    benchmarks = {name: list(mteb.get_benchmark(name).tasks) for name in BENCHMARKS}
    types = {
        group: [task.metadata.name for task in benchmarks[TYPES_BENCHMARK] if task.metadata.type == kind]
        for group, kind in TYPES.items()
    }
    whole = {name: [task.metadata.name for task in tasks] for name, tasks in benchmarks.items()}
    return {"sts5": [*STS5], "sts7": [*STS5, "STS16", "SICK-R"], **types, **whole}


def local_rows(name: str) -> list[LocalTask]:
    """The rows that a name stands for: a task's, its development part's (NAME:dev), or a group's.

    Raises:
        UserError: It stands for none.
    """
    rows = {row.name: row for row in LOCAL_TASKS}
    groups = group_members(local=True)
    if name in groups:
        return [rows[member] for member in groups[name]]
    bare, _, split = name.partition(":")
    if bare in rows and split == "dev" and rows[bare].dev:
        row = rows[bare]
        return [LocalTask(**{**vars(row), "name": f"{bare} (dev)", "test": row.dev, "dev": ()})]
    if name in rows:
        return [rows[name]]
    if name in BENCHMARKS:
        raise UserError(
            f"{name} cannot be run on local files, which hold only some of its tasks; name groups instead."
        )
    if bare in rows and split:
        with_dev = [row.name for row in LOCAL_TASKS if row.dev]
        raise UserError(f"{bare} has no part {split!r}; NAME:dev is there for {', '.join(with_dev)}.")
    raise UserError(f"There is no local task {name!r}; {_suggestion(name, [*groups, *rows])}.")


def _hub_tasks(name: str) -> list[EvaluationTask]:
    benchmarks = {each: list(mteb.get_benchmark(each).tasks) for each in BENCHMARKS}
    if name in benchmarks:
        tasks = benchmarks[name]
    else:
        # As the benchmarks run it: English, and only the splits that count.
        known = {task.metadata.name: task for each in reversed(BENCHMARKS) for task in benchmarks[each]}
        members = group_members(local=False).get(name, [name])
        try:
            tasks = [known.get(each) or mteb.get_task(each, languages=["eng"]) for each in members]
        except (KeyError, ValueError):
            raise UserError(f"MTEB has no task {name!r}; {_suggestion(name, [*GROUPS, *known])}.") from None
    return [EvaluationTask(task.metadata.name, "hub", task) for task in tasks]


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    groups = f"the groups are {', '.join(GROUPS)}"
    return f"did you mean {close[0]!r}? Else {groups}" if close else groups


def local_task(row: LocalTask, folder: Path) -> EvaluationTask:
    """The MTEB task of a row of the table; its data is read when it is loaded.

    Raises:
        UserError: A file or column is missing.
    """
    columns = row.columns or COLUMNS[row.type]
    files = {name: folder / f"{name}{SUFFIX}" for name in (*row.train, *row.test)}
    for name, file in files.items():
        _check_file(file, _columns_of(row.type, columns, name), row.name)
    digest = hashlib.sha256("".join(file_hash(file) for file in files.values()).encode()).hexdigest()
    task = _mteb_task(row, folder, digest)
    subset = task.hf_subsets[0]

    def load() -> None:
        data = LOADERS[row.type](row, folder, columns)
        # Retrieval always has a level of subsets, the others only if there are several.
        task.dataset = {subset: data} if row.type == "Retrieval" or subset != "default" else data
        task.data_loaded = True

    names = [f"{name}{SUFFIX}" for name in files]
    return EvaluationTask(row.name, "local", task, load, names, row.remark)


def _mteb_task(row: LocalTask, folder: Path, revision: str) -> Any:
    """An instance of MTEB's class for the row, with the row's name and the files' hash as its data's revision."""
    base: Any
    if row.mteb_name:
        base = type(mteb.get_task(row.mteb_name))
        metadata = base.metadata
    else:
        base = {"Classification": AbsTaskClassification, "PairClassification": AbsTaskPairClassification}[row.type]
        metadata = TaskMetadata(
            name=row.name,
            description=row.remark or row.name,
            dataset={"path": str(folder), "revision": revision},
            type=row.type,  # type: ignore[arg-type]
            category="t2c" if row.type == "Classification" else "t2t",
            eval_langs=["eng-Latn"],
            main_score="accuracy" if row.type == "Classification" else "max_ap",
        )
    languages = metadata.eval_langs
    changes = {
        "name": row.name,
        "dataset": {"path": str(folder), "revision": revision},
        "eval_splits": ["test"],
        "eval_langs": {"en": languages["en"]} if isinstance(languages, dict) else languages,
    }
    # Of a class of its own: unloading its data takes an instance's metadata away.
    task: Any = type(base.__name__, (base,), {"metadata": metadata.model_copy(update=changes)})()
    if row.type == "PairClassification":
        task.input1_column_name, task.input2_column_name, task.label_column_name = "sentence1", "sentence2", "label"
    if row.type == "Classification" and not row.train:
        task.is_cross_validation, task.train_split = True, "test"
    return task


def _columns_of(kind: str, columns: tuple[str, ...], file: str) -> tuple[str, ...]:
    if kind != "Retrieval":
        return columns
    return columns[2:] if file.endswith("qrels") else columns[:2]


def _check_file(file: Path, columns: Sequence[str], task: str) -> None:
    if not file.is_file():
        raise UserError(f"There is no file {file}, which the task {task} needs; put it there or leave out the task.")
    try:
        found = pq.read_schema(file).names
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}.") from None
    for column in columns:
        if column not in found:
            raise UserError(
                f"{file} has no column {column!r}, which the task {task} needs; it has {', '.join(found)}."
            )


def _read(folder: Path, names: Sequence[str], columns: Sequence[str]) -> list[list[Any]]:
    """The columns of some files, one file's rows after the other's.

    Raises:
        UserError: A value is missing.
    """
    values: list[list[Any]] = [[] for _ in columns]
    for name in names:
        file = folder / f"{name}{SUFFIX}"
        table = pq.read_table(file, columns=list(columns))
        for place, column in enumerate(columns):
            found = table[column].to_pylist()
            if missing := [row for row, value in enumerate(found) if value is None or value != value]:
                raise UserError(f"{file}: row {missing[0]} has no {column!r}; mend or leave out the row.")
            values[place] += found
    return values


def sentence_pairs(task: EvaluationTask, data_dir: Path) -> SentencePairs | None:
    """The pairs and human scores of a local STS task; None of any other."""
    if task.source != "local" or task.task.metadata.type != "STS":
        return None
    names = [file.removesuffix(SUFFIX) for file in task.files]
    first, second, scores = _read(data_dir, names, COLUMNS["STS"])
    return SentencePairs(task.name, first, second, [float(score) for score in scores])


def _load_sts(row: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    first, second, scores = _read(folder, row.test, columns)
    pairs = {"sentence1": first, "sentence2": second, "score": [float(score) for score in scores]}
    return DatasetDict(test=Dataset.from_dict(pairs))


def _load_classification(row: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    splits = {split: _read(folder, names, columns) for split, names in (("train", row.train), ("test", row.test))}
    names = row.labels or sorted({label for _, labels in splits.values() for label in labels})
    ids = {label: index for index, label in enumerate(names)}
    return DatasetDict(
        {
            split: Dataset.from_dict({"text": texts, "label": [ids[label] for label in labels]})
            for split, (texts, labels) in splits.items()
            if texts
        }
    )


def _load_pairs(row: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    first, second, labels = _read(folder, row.test, columns)
    # The last of the labels is the one to be found; a plain 0 and 1 need none.
    positive = row.labels[-1] if row.labels else "1"
    found = [int(str(label) == positive) for label in labels]
    return DatasetDict(test=Dataset.from_dict({"sentence1": first, "sentence2": second, "label": found}))


def _load_clustering(row: LocalTask, folder: Path, columns: tuple[str, ...]) -> DatasetDict:
    texts, labels = _read(folder, row.test, columns)
    kept = [(text, label) for text, label in zip(texts, labels, strict=True) if text.strip()]
    # MTEB's older clustering tasks hold a whole set in each row.
    one_set = {"sentences": [[text for text, _ in kept]], "labels": [[label for _, label in kept]]}
    return DatasetDict(test=Dataset.from_dict(one_set))


def _load_retrieval(row: LocalTask, folder: Path, columns: tuple[str, ...]) -> dict[str, Any]:
    corpus, queries, qrels = row.test
    ids, titles, texts = _read(folder, [corpus], (columns[0], "title", columns[1]))
    query_ids, questions = _read(folder, [queries], columns[:2])
    judged: dict[str, dict[str, int]] = {}
    for query, document, score in zip(*_read(folder, [qrels], columns[2:]), strict=True):
        judged.setdefault(query, {})[document] = score
    return {
        "test": {
            "corpus": Dataset.from_dict({"id": ids, "title": titles, "text": texts}),
            "queries": Dataset.from_dict({"id": query_ids, "text": questions}),
            "relevant_docs": judged,
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
