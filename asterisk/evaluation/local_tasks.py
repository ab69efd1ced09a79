"""The local tasks: which files of a data folder feed which task, and the groups of tasks."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from asterisk.core.errors import UserError

STS5 = ("STS12", "STS13", "STS14", "STS15", "STSBenchmark")
# Groups of all tasks of one type; on the Hub, those of MTEB(eng, v2).
TYPES = {
    "classification": "Classification",
    "clustering": "Clustering",
    "retrieval": "Retrieval",
    "pairs": "PairClassification",
}
BENCHMARKS = ("MTEB(eng, v2)", "MTEB(eng, v1)")
GROUPS = ("sts5", "sts7", *TYPES)

# Default columns per task type.
COLUMNS = {
    "STS": ("sentence1", "sentence2", "score"),
    "Classification": ("text", "label"),
    "PairClassification": ("sentence1", "sentence2", "label"),
    "Clustering": ("text", "label"),
    "Retrieval": ("_id", "text", "query-id", "corpus-id", "score"),
}


@dataclass(frozen=True)
class LocalTask:
    """A task on local files, whose names are relative to the data folder and omit `.parquet`.

    Attributes:
        name: The name in results; it is MTEB's name only if rows and splits are also MTEB's.
        type: MTEB's task type.
        test: Files whose concatenated rows are scored; for retrieval, corpus, queries and judgements.
        train: Files that classification draws samples from; without them, five-fold cross-validation over `test`.
        dev: Files that `NAME:dev` scores instead of `test`.
        mteb_name: The MTEB task whose class and settings are used; without it, MTEB's defaults for the type.
        columns: The files' columns, in the order of [`COLUMNS`].
        labels: The class names in the order of their numbers; sorted if empty. For pairs, the last one is positive.
        remark: Source of the file, or how it differs from MTEB's data.
    """

    name: str
    type: str
    test: tuple[str, ...]
    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    mteb_name: str = ""
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    remark: str = ""

    @property
    def is_mteb(self) -> bool:
        """Whether the task is MTEB's, so that its score can be compared with published ones."""
        return self.name == self.mteb_name


def _sts(name: str, *test: str, **more: Any) -> LocalTask:
    return LocalTask(name, "STS", tuple(f"sts/{file}" for file in test), **{"mteb_name": name, **more})


def _classes(name: str, file: str, mteb_name: str = "", splits: str = "train dev test", **more: Any) -> LocalTask:
    train, dev, test = (
        (f"classification/{file}.{split}",) if split in splits.split() else () for split in ("train", "dev", "test")
    )
    return LocalTask(name, "Classification", **{"test": test, "train": train, "dev": dev, **more}, mteb_name=mteb_name)


# Classes 0 and 1, which sorting by name would swap.
COUNTERFACTUAL = ("not-counterfactual", "counterfactual")
BANKING, TWEETS, IMDB = (f"{name}Classification" for name in ("Banking77", "TweetSentimentExtraction", "Imdb"))
COUNTERFACTUAL_TASK, EMOTION = "AmazonCounterfactualClassification", "EmotionClassification"
SLURP: dict[str, Any] = {"splits": "", "train": ("classification/Slurp.dev",), "test": ("classification/Slurp.test",)}
SLURP_REMARK = (
    "SLURP, the English source of MASSIVE, with its more numerous labels; samples are drawn from its dev part"
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
        remark="the 4,927 test pairs, as SentEval, SimCSE and HPD report it; MTEB's SICK-R has all 9,927 pairs",
    ),
    _sts(
        "BIOSSES (original)",
        "BIOSSES.test",
        mteb_name="BIOSSES",
        remark="from its authors' repository; MTEB's copy differs in a few characters",
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
        remark="without the one empty text of MTEB's train part, so that the drawn samples differ",
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
        remark=f"AG News, only the official test part; {NO_SPLIT}",
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
        remark="samples are drawn from the dev part, the only other part with out-of-scope texts",
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
        remark="subjects of the train part as one set; MTEB has ten sets of all parts",
    ),
    LocalTask(
        "SciFact",
        "Retrieval",
        ("retrieval/SciFact.corpus", "retrieval/SciFact.queries", "retrieval/SciFact.qrels"),
        mteb_name="SciFact",
    ),
    _classes(IMDB, "Imdb", IMDB, "train test"),
)


def local_groups() -> dict[str, list[str]]:
    """Return group → the names of its local tasks."""
    types = {group: [task.name for task in LOCAL_TASKS if task.type == kind] for group, kind in TYPES.items()}
    return {"sts5": [*STS5], "sts7": [*STS5, "STS16", "SICK-R (test)"], **types}


def local_tasks(name: str) -> list[LocalTask]:
    """Return the local tasks of a name: a task, its development part (NAME:dev), or a group.

    Raises:
        UserError: There is no such task or group.
    """
    tasks, groups = {task.name: task for task in LOCAL_TASKS}, local_groups()
    if name in groups:
        return [tasks[member] for member in groups[name]]
    if name in tasks:
        return [tasks[name]]
    bare, _, split = name.partition(":")
    if bare in tasks and split == "dev" and tasks[bare].dev:
        return [replace(tasks[bare], name=f"{bare} (dev)", test=tasks[bare].dev, dev=())]
    if name in BENCHMARKS:
        raise UserError(f"Local files hold only some of the tasks of {name}; name groups or tasks instead.")
    if bare in tasks:
        with_dev = ", ".join(task.name for task in LOCAL_TASKS if task.dev)
        raise UserError(f"{bare} has no part {split!r}; NAME:dev exists for {with_dev}.")
    raise UserError(f"There is no local task {name!r}; {suggestion(name, [*groups, *tasks])}.")


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return a hint for an error message: the closest known name, if one is similar, and the groups."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    groups = f"the groups are {', '.join(GROUPS)}"
    return f"did you mean {close[0]!r}? Otherwise, {groups}" if close else groups
