"""A whole distillation: corpus, teacher vectors, student, training and results. Every step can be resumed."""

import dataclasses
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerFast

from asterisk.core.errors import UserError, redact
from asterisk.core.files import read_json, remove_folder, writable_folder, write_json
from asterisk.core.processes import report_lost_process, this_process
from asterisk.core.run_folder import RUN_FILE, check_run_folder
from asterisk.data.corpus import Corpus, build_corpus, corpus_options, describe_counts
from asterisk.distillation.arguments import DistillationArguments, check_arguments
from asterisk.distillation.curves import plot_curves, read_curves
from asterisk.distillation.encoder_student import load_encoder_student
from asterisk.distillation.fold_projection import fold_projection
from asterisk.distillation.label_tasks import LabelledCorpus, read_label_tasks
from asterisk.distillation.loop import Distillation
from asterisk.distillation.pairs import (
    Pairs,
    ScoredPairs,
    find_pairs,
    find_rows,
    find_scored_pairs,
    read_pairs,
    read_scored_pairs,
    write_texts,
)
from asterisk.distillation.projection import with_teacher_spaces
from asterisk.distillation.report import report_results
from asterisk.distillation.student import average_with_start, new_student, student_config, views_are_equal, with_exits
from asterisk.distillation.student_tokenizer import NO_TOKENIZER, add_separator, student_tokenizer
from asterisk.evaluation.sts import SentencePairs, read_sentence_pairs, sts_spearman
from asterisk.models.checkpoints import save_student
from asterisk.reporting.names import display_names
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.store import EmbeddingStore, JoinedStore
from asterisk.teachers.teacher import Teacher, has_tokenizer, load_teacher
from asterisk.teachers.token_store import tokenize_corpus
from modeling_asterisk import AsteriskModel

# Texts from which the principal directions of a student's embeddings are estimated.
FOLDING_TEXTS = 8_000

# Arguments that may change when a run is resumed, because they do not affect the training.
NOT_IN_RECIPE = ("output_dir", "store_dir", "resume", "sts_test", "api_batch_size")


def distil(arguments: DistillationArguments) -> None:
    """Run or resume a distillation, and print its results; train_distill.py lists the files that it writes.

    Raises:
        UserError: An argument or an input is wrong.
    """
    folder, state = Path(arguments.output_dir), this_process()
    recipe = redact(
        {name: value for name, value in dataclasses.asdict(arguments).items() if name not in NOT_IN_RECIPE}
    )

    # Read and check all input before anything is written.
    for name in ("corpus", "output_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing; give it as a flag or in a recipe (--config recipes/demo.yaml).")
    if state.is_main_process:
        check_run_folder(folder, recipe, arguments.resume)
    processes = recorded_processes(folder)
    arguments = keep_batch(arguments, processes)
    _check_student(arguments)
    set_seed(arguments.seed)
    encoder = load_encoder_student(arguments) if arguments.encoder else None
    config = encoder[0].config if encoder else student_config(arguments, vocab_size=1)
    is_folded = encoder is not None and isinstance(encoder[0], AsteriskModel) and not arguments.projection_dim
    exits = arguments.exit_layers or getattr(config, "exit_layers", None) or []
    dimensions = config.hidden_size if is_folded else config.embedding_size
    check_arguments(arguments, dimensions, len(exits), has_teacher=bool(arguments.teacher))
    development, test = (
        [read_sentence_pairs(source, name, arguments) for name, source in map(_name_and_source, benchmarks)]
        for benchmarks in (arguments.sts_dev, arguments.sts_test)
    )
    pairs = read_pairs(arguments.pairs, arguments.pair_columns, arguments) if arguments.pairs else None
    scored_pairs = read_scored_pairs(arguments.scored_pairs, arguments) if arguments.scored_pairs else None
    labelled = read_label_tasks(arguments.label_tasks) if arguments.label_tasks else None
    store_dir = str(arguments.store_dir or folder / "store")
    teachers = [
        load_teacher(dataclasses.replace(arguments, teacher=name), arguments.text_column, _store_of(store_dir, index))
        for index, name in enumerate([arguments.teacher, *arguments.more_teachers])
        if name
    ]
    teacher = teachers[0] if teachers else None

    # The corpus, the tokenizer and the teacher's vectors.
    store_folder = RemoteFolder(store_dir).local
    corpus = _make_corpus(arguments, store_folder / "corpus", pairs, scored_pairs, labelled)
    # An invalid tokenizer must fail before the teacher embeds the corpus, which may cost hours or money.
    if encoder is not None:
        tokenizer = encoder[1]
    else:
        assert teacher is not None  # checked by _check_student
        texts = (text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index))
        tokenizer = student_tokenizer(teacher, arguments.max_length, arguments.tokenizer, texts)
    if arguments.add_separator:
        add_separator(tokenizer)
    store = _embed(arguments, corpus, teachers, store_dir) if teachers else None

    # The student and its token ids.
    set_seed(arguments.seed)
    new_exits, start = bool(arguments.exit_layers), {}
    if encoder is not None:
        student = encoder[0]
        if isinstance(student, AsteriskModel):
            if student.config.projection_dim and not arguments.projection_dim:
                student = fold_projection(student, student.encode(corpus.shard(0)[:FOLDING_TEXTS]))
            start = {name: weight.clone() for name, weight in student.state_dict().items()}
            new_exits = new_exits and list(student.config.exit_layers or ()) != arguments.exit_layers
            student = with_exits(student, arguments.exit_layers)
    else:
        config = student_config(arguments, len(tokenizer), tokenizer.pad_token_id)
        student = new_student(config, teacher if arguments.table == "teacher" else None, tokenizer)
    size, dimensions = sum(weight.numel() for weight in student.parameters()), student.config.embedding_size
    state.print(f"Student: {size:,} parameters, {dimensions} dimensions, {len(tokenizer):,} tokens.")
    if arguments.simcse_weight and views_are_equal(student):
        _warn(
            "--simcse_weight contrasts two views of a sentence that differ only by dropout, but this student has no "
            "dropout; set --dropout 0.1, or use an encoder whose configuration has dropout."
        )
    if new_exits and 0 in arguments.exit_layers:
        student.exits["0"].token_mask[tokenizer.all_special_ids] = 0
    max_length = tokenizer.model_max_length
    if store:
        tokens = store.tokens(tokenizer, max_length)
    else:
        tokens = tokenize_corpus(corpus, tokenizer, max_length, writable_folder(store_folder))

    # Training.
    spaces = display_names([name for name in [arguments.teacher, *arguments.more_teachers] if name])
    pair_rows = find_pairs(pairs, corpus) if pairs else None
    scored_rows = find_scored_pairs(scored_pairs, corpus) if scored_pairs else None
    for kind, found, given in (("Labelled", pair_rows, pairs), ("Scored", scored_rows, scored_pairs)):
        if found and given:
            reason = "the others contain a benchmark's text, or one text twice"
            state.print(f"{kind} pairs: {len(found):,} of {len(given):,} used; {reason}.")
    if labelled is not None:
        count = len(labelled)
        labelled = labelled.place(find_rows([np.array(labelled.texts)], corpus)[0])
        labelled.tokenize(tokenizer, max_length)
        state.print(f"Labelled texts: {len(labelled):,} of {count:,} used; the others are a benchmark's.")
    distillation = Distillation(
        student,
        tokens,
        store,
        arguments,
        folder,
        pair_rows,
        scored_rows,
        labelled,
        evaluate=(lambda model: _sts_scores(model, tokenizer, development)) if development else None,
        is_trained=bool(arguments.encoder) and isinstance(student, AsteriskModel),
        keep_projection=[name for name, _ in getattr(student.config, "teacher_spaces", None) or ()] == spaces,
        new_exits=new_exits,
    )
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        record = {"recipe": recipe, "versions": _versions(), "store_dir": redact(store_dir)}
        record |= {"processes": processes}
        write_json(folder / RUN_FILE, record)

    def save(model: Any, name: str) -> None:
        if isinstance(model, AsteriskModel) and distillation.projection is not None:
            sizes = [each.dimension for each in teachers]
            projection = distillation.projection.cpu().numpy()
            model = with_teacher_spaces(model, projection, list(zip(spaces, sizes, strict=True)))
        save_student(model, tokenizer, folder / name)

    with report_lost_process():
        trained = distillation.train(on_best=lambda model: save(model, "best"))

    # Results.
    if state.is_main_process:
        plot = folder / "curves.png"
        # The plot is written last: if it exists, the model is complete.
        if trained or not (plot.exists() and (folder / "model").exists()):
            plot.unlink(missing_ok=True)
            if arguments.start_weight:
                average_with_start(distillation.student, start, arguments.start_weight)
            save(distillation.student, "model")
            (folder / "results.json").unlink(missing_ok=True)
            remove_folder(folder / "report")
            plot_curves(read_curves(folder / "curves.jsonl"), plot)
        report_results(folder, arguments.teacher, arguments.encoder, distillation, test)


def _store_of(store_dir: str, index: int) -> str:
    """Return the place of a teacher's store; those of further teachers are inside the first one's."""
    return f"{store_dir}/teacher-{index + 1}" if index else store_dir


def _embed(
    arguments: DistillationArguments, corpus: Corpus, teachers: Sequence[Teacher], store_dir: str
) -> EmbeddingStore | JoinedStore:
    """Embed the corpus with every teacher."""
    stores = []
    names = [arguments.teacher, *arguments.more_teachers]
    for index, (name, teacher) in enumerate(zip(names, teachers, strict=True)):
        stores.append(embed_corpus(corpus, teacher, _store_of(store_dir, index)))
        truncated = f"{stores[-1].truncated / len(stores[-1]):.2%}"
        this_process().print(f"Teacher: {name}, {teacher.dimension} dimensions, {truncated} of sentences truncated.")
    return JoinedStore(stores, arguments.teacher_weights or [1.0] * len(stores)) if len(stores) > 1 else stores[0]


def recorded_processes(folder: Path) -> int:
    """Return the number of processes that started the run in the folder; for a new run, the current number."""
    record = read_json(folder / RUN_FILE, required=False) or {}
    return record.get("processes") or this_process().num_processes


def keep_batch(arguments: DistillationArguments, processes: int) -> DistillationArguments:
    """Adapt gradient accumulation, so that a run resumed on another number of processes keeps its batches per step.

    Args:
        arguments: The arguments of the run.
        processes: The number of processes that started the run.

    Raises:
        UserError: The batches cannot be shared equally among the current processes.
    """
    now = this_process().num_processes
    batches = processes * arguments.gradient_accumulation_steps
    if batches % now:
        choice = ", ".join(str(number) for number in range(1, batches + 1) if batches % number == 0)
        raise UserError(
            f"{arguments.output_dir} was started by {processes} processes, and {now} cannot share its {batches} "
            f"batches per step equally; start one of these numbers of processes: {choice}."
        )
    if now != processes:
        this_process().print(
            f"The run was started by {processes} processes; each of the {now} now takes {batches // now} batches per "
            "step, so that the steps stay the same."
        )
    return dataclasses.replace(arguments, gradient_accumulation_steps=batches // now)


def _check_student(arguments: DistillationArguments) -> None:
    student_config(arguments, vocab_size=1)
    if arguments.more_teachers and not arguments.teacher:
        raise UserError("--more_teachers needs a first --teacher.")
    weights, count = arguments.teacher_weights, 1 + len(arguments.more_teachers)
    if weights and (len(weights) != count or min(weights) <= 0):
        raise UserError(f"--teacher_weights must be {count} numbers above 0, one for each teacher, not {weights}.")
    if arguments.start_weight and not arguments.encoder:
        raise UserError("--start_weight needs an --encoder, an Asterisk, to start from.")
    if not arguments.teacher and not (arguments.encoder and arguments.simcse_weight):
        raise UserError(
            "--teacher is missing; give one, or an --encoder to train further by SimCSE alone (--simcse_weight 1), or "
            "a recipe (--config recipes/demo.yaml)."
        )
    uses_teacher_tokenizer = arguments.tokenizer.partition(":")[0] in ("teacher", "extended")
    if not arguments.encoder and uses_teacher_tokenizer and not has_tokenizer(arguments.teacher):
        raise UserError(NO_TOKENIZER.format(arguments.teacher))


def _make_corpus(
    arguments: DistillationArguments,
    folder: Path,
    pairs: Pairs | None,
    scored_pairs: ScoredPairs | None,
    labelled: LabelledCorpus | None,
) -> Corpus:
    """Build the corpus, which includes the labelled texts and those of the pairs, or load it from disk."""
    benchmarks = [_name_and_source(text)[1] for text in [*arguments.sts_dev, *arguments.sts_test]]
    texts = [text for part in (pairs, scored_pairs) if part is not None for column in part.columns for text in column]
    texts += labelled.texts if labelled is not None else []
    # Every process writes its own copy of these texts; the corpus identifies the file by its content.
    with tempfile.TemporaryDirectory() as scratch:
        labelled_texts = Path(scratch) / "pairs.txt"
        if texts:
            write_texts(texts, labelled_texts)
        corpus = build_corpus(
            arguments.corpus,
            folder,
            labelled=[str(labelled_texts)] if texts else [],
            measured=benchmarks,
            **corpus_options(arguments),
        )
    this_process().print(f"Corpus: {corpus.num_sentences:,} sentences ({describe_counts(corpus.counts)}).")
    if included := [source for source in benchmarks if not corpus.leaves_out(source)]:
        _warn(
            f"{folder} may contain sentences of {redact(', '.join(included))}, because it was built without these "
            "benchmarks; give another --store_dir to leave the sentences out."
        )
    return corpus


def _sts_scores(model: Any, tokenizer: PreTrainedTokenizerFast, benchmarks: list[SentencePairs]) -> dict[str, float]:
    """Return benchmark → Spearman correlation × 100."""

    def encode(texts: list[str]) -> np.ndarray:
        return model.encode(texts, tokenizer=tokenizer)

    return {pairs.name: sts_spearman(encode, pairs) for pairs in benchmarks}


def _name_and_source(benchmark: str) -> tuple[str, str]:
    name, separator, source = benchmark.partition("=")
    if not separator or not name or not source:
        raise UserError(f"--sts_test and --sts_dev take NAME=FILE or NAME=HUB_DATASET, not {benchmark!r}.")
    return name, source


def _warn(message: str) -> None:
    if this_process().is_main_process:
        print(f"warning: {message}", file=sys.stderr)


def _versions() -> dict[str, str]:
    """Return the versions and the machine to record."""
    packages = ("accelerate", "datasets", "sentence-transformers", "torch", "transformers")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in packages},
    }
