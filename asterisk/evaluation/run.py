"""The work of evaluate_mteb.py: measure a model and its baselines, and write results after each task."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.files import make_folder, write_json, write_text
from asterisk.data.labelled_sets import LocalSet, local_sets, read_set
from asterisk.data.readers import files_of, read_columns, read_texts
from asterisk.evaluation.arguments import EvaluationArguments, parse_prompt
from asterisk.evaluation.comparison_report import write_comparison_report
from asterisk.evaluation.few_shot import classification_table, mean_results, measure_classification
from asterisk.evaluation.fine_tuned import measure_fine_tuned
from asterisk.evaluation.mteb_runner import ModelScores, run_tasks, summary, summary_table
from asterisk.evaluation.tasks import EvaluationTask, find_tasks, group_members
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import is_asterisk, load_encoder
from asterisk.reporting.names import display_name


def run_evaluation(arguments: EvaluationArguments, train_head: Callable[..., None]) -> None:
    """Measure the model, then the baselines.

    Args:
        arguments: The arguments of evaluate_mteb.py.
        train_head: Trains a head for `--fine_tune`; its keyword arguments are the options of train_head.py.

    Raises:
        UserError: An argument is wrong, or a model or the data cannot be loaded.
    """
    folder, data = Path(arguments.output_dir), Path(arguments.data_dir) if arguments.data_dir else None
    tasks = find_tasks(arguments.tasks, arguments.data_dir or None) if arguments.tasks else []
    groups = group_members(local=data is not None)
    texts = _report_texts(arguments, data) if arguments.report else []
    sets = _selected_sets(arguments, data) if data and arguments.classifies else {}
    if arguments.fine_tune and not is_asterisk(arguments.model):
        raise UserError(f"--fine_tune trains an Asterisk, but {arguments.model} is not one; leave out --fine_tune.")
    documents = _load_documents(arguments, tasks) if arguments.document_model else None
    settings = dataclasses.asdict(arguments)
    encoders: list[TextEncoder] = []
    models: list[ModelScores] = []
    for position, spec in enumerate([arguments.model, *arguments.baseline]):
        encoder = _load(spec, arguments, is_baseline=position > 0)
        truncated = arguments.truncate_dim or arguments.layers is not None
        label = f"{spec} (truncated)" if position == 0 and truncated else spec
        if position == 0 and documents:
            label = f"{spec}, documents by {arguments.document_model}"
        encoders.append(encoder)
        models.append(ModelScores.of(label, encoder))
        print(f"{label}: {encoder.num_parameters:,} parameters, {encoder.dimension} dimensions.", flush=True)
        for name, result in run_tasks(encoder, tasks, folder, arguments.batch_size, None if position else documents):
            models[-1].tasks[name] = result
            tqdm.write(f"{label}: {name} {result.score:.2f} ({result.metric}, {result.seconds:.1f} s)")
            write_json(folder / "summary.json", summary(models, tasks, groups, settings))
    if tasks:
        table = summary_table(models, tasks, groups)
        write_text(folder / "summary.md", table)
        print(f"\n{table}\nThe results are in {folder}: summary.json, summary.md and MTEB's files in results/.")
    if sets:
        # Retention is relative to the first model, which is the first baseline if there is one.
        _write_classification(folder, [*encoders[1:], encoders[0]], sets, arguments, train_head)
    if arguments.report:
        page = folder / "report" / "report.html"
        write_comparison_report(page.parent, encoders, models, tasks, groups, texts, data, arguments.batch_size)
        print(f"\nThe report is {page}, and its text version {page.with_suffix('.md')}.")


def _load(spec: str, arguments: EvaluationArguments, is_baseline: bool) -> TextEncoder:
    """Load the model with all arguments, or a baseline whole and without prompts."""
    return load_encoder(
        spec,
        truncate_dim=None if is_baseline else arguments.truncate_dim,
        layers=None if is_baseline else arguments.layers,
        prompts=None if is_baseline else dict(parse_prompt(text) for text in arguments.prompts),
        local_files_only=bool(arguments.data_dir),
        space=None if is_baseline or not arguments.document_model else display_name(arguments.document_model),
        **arguments.loading_options(),
    )


def _load_documents(arguments: EvaluationArguments, tasks: list[EvaluationTask]) -> TextEncoder:
    """Load the encoder of the documents."""
    if others := [task.name for task in tasks if task.task.metadata.type != "Retrieval"]:
        raise UserError(f"--document_model needs retrieval tasks only, but {others[0]} is not one.")
    return _load(arguments.document_model, arguments, is_baseline=True)


def _report_texts(arguments: EvaluationArguments, data: Path | None) -> list[str]:
    """Read the texts on which the report compares the models and measures their speed."""
    if arguments.texts:
        files = [file for source in arguments.texts for file in files_of(source)]
        return [text for file in files for text in read_texts(file, arguments.text_column, arguments)]
    file = data / "sts" / "STSBenchmark.test.parquet" if data else None
    if file is None or not file.is_file():
        raise UserError("--report needs text that no model was trained on; give a file of sentences with --texts.")
    columns = read_columns(str(file), ["sentence1", "sentence2"])
    return columns["sentence1"] + columns["sentence2"]


def _selected_sets(arguments: EvaluationArguments, data: Path) -> dict[str, LocalSet]:
    """Find the labelled sets to classify."""
    found = local_sets(data / "classification")
    if unknown := [name for name in arguments.sets if name not in found]:
        raise UserError(f"There is no labelled set {unknown[0]!r} in {data}; there are {', '.join(found)}.")
    return {name: found[name] for name in found if not arguments.sets or name in arguments.sets}


def _write_classification(
    folder: Path,
    encoders: list[TextEncoder],
    sets: dict[str, LocalSet],
    arguments: EvaluationArguments,
    train_head: Callable[..., None],
) -> None:
    """Measure zero-shot, few-shot and fine-tuned classification; write classification.json and .md."""
    make_folder(folder)
    data = [read_set(files, arguments.max_test_texts) for files in sets.values()]
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
        for encoder in [each for each in encoders if is_asterisk(each.spec)]:
            # As in results/, the revision separates models with different weights in the same folder.
            runs = folder / "fine-tuned" / encoder.name / encoder.revision
            results += measure_fine_tuned(encoder.name, encoder.spec, data, train_head, runs)
    if len(sets) > 1:
        results += mean_results(results)
    write_json(folder / "classification.json", [dataclasses.asdict(line) for line in results])
    table = classification_table(results)
    write_text(folder / "classification.md", table + "\n")
    print(f"\n{table}\nThe results are in {folder}: classification.json and .md.")
