"""The arguments of evaluate_mteb.py, one class per group of `--help`. Imports nothing heavy."""

from dataclasses import dataclass

from asterisk.core.arguments import option
from asterisk.core.errors import UserError
from asterisk.data.arguments import FileFormat
from asterisk.models.arguments import EncoderArguments

# The label alone, and the label in a sentence; the choice does not depend on scores.
TEMPLATES = ("{}", "This text is about {}.")


@dataclass
class ComparisonArguments:
    """Comparison: the baselines, and how the models embed texts."""

    document_model: str = option(
        "", "a teacher of the model; it embeds the documents of retrieval tasks, and the model the queries"
    )
    baseline: list[str] = option(
        [],
        "models to compare with, in all dimensions and without prompts; retention is relative to the first",
        action="extend",
    )
    batch_size: int = option(64, "maximum number of texts per forward pass", least=1)
    prompts: list[str] = option(
        [],
        "NAME=TEXT, to put TEXT before the model's texts; NAME is query, document, a task or a task type",
        action="extend",
    )


@dataclass
class TaskArguments:
    """Tasks: the tasks to run and their data."""

    tasks: str = option("", "tasks, groups and benchmarks, separated by commas")
    data_dir: str = option("", "read the data from this folder, without a network")


@dataclass
class ClassificationArguments:
    """Classification: labelled sets of DATA_DIR/classification, each tested in up to three ways."""

    zero_shot: bool = option(False, "classify by the nearest label name, without training")
    few_shot: list[int] = option([], "train on this many texts per label, e.g. 8 16 64, in ten draws each")
    fine_tune: bool = option(False, "train each Asterisk on the whole set, like train_head.py --mode full")
    sets: list[str] = option([], "names of the sets; none given means all")
    templates: list[str] = option(list(TEMPLATES), "zero-shot prompts, in which the label's name replaces {}")
    max_test_texts: int = option(2_000, "maximum number of test texts per set")


@dataclass
class ReportArguments:
    """Report: plots of retention, agreement and speed, compared with a baseline."""

    report: bool = option(False, "also write report/")
    texts: list[str] = option([], "texts that no model was trained on; none given means STSBenchmark of DATA_DIR")
    text_column: str = option("text", "column of the tables in TEXTS that holds the text")


@dataclass
class OutputArguments:
    """Output: the folder of results."""

    output_dir: str = option("", "folder of the results", required=True)


@dataclass
class EvaluationArguments(
    OutputArguments,
    FileFormat,
    ReportArguments,
    ClassificationArguments,
    TaskArguments,
    ComparisonArguments,
    EncoderArguments,
):
    """All arguments of evaluate_mteb.py."""

    @property
    def classifies(self) -> bool:
        """Whether labelled sets are classified."""
        return bool(self.zero_shot or self.few_shot or self.fine_tune)


def check_arguments(arguments: EvaluationArguments) -> None:
    """Raise a [`UserError`] if an argument needs another one."""
    if not (arguments.tasks or arguments.classifies):
        raise UserError("--tasks is missing; --help shows whole commands.")
    if arguments.classifies and not arguments.data_dir:
        raise UserError(
            "--zero_shot, --few_shot and --fine_tune classify local sets; give a --data_dir with classification/."
        )
    if arguments.report and not (arguments.baseline and arguments.tasks):
        raise UserError("--report compares the model with a baseline on some tasks; give --baseline and --tasks.")
    for text in arguments.prompts:
        parse_prompt(text)


def parse_prompt(text: str) -> tuple[str, str]:
    """Split NAME=TEXT into name and text; raise a [`UserError`] if it has another form."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UserError(f"--prompts takes NAME=TEXT, such as 'query=query: ', not {text!r}.")
    return name, value
