"""Distils a sentence-embedding teacher into a tiny Asterisk.

    python train_distill.py --config recipes/demo.yaml
    python train_distill.py --config recipes/demo.yaml --corpus my_texts.txt --output_dir runs/mine
    accelerate launch --num_processes 2 train_distill.py --config recipes/demo.yaml

Text becomes a corpus of distinct sentences, the teacher embeds it once into a store, the student learns the store, and
a table compares teacher, untrained static model and student. Every step keeps its results on disk: --resume goes on
after the last one that was finished. In --output_dir: model/ (the student), results.md and .json, report/ (how student
and teacher agree on unseen text), curves.jsonl and .png, checkpoints/, run.json (the recipe).
"""

import dataclasses
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerFast

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point, redact
from asterisk.core.files import read_json, remove_folder, writable_folder, write_json
from asterisk.core.processes import this_process
from asterisk.core.run_folder import RUN_FILE, check_run_folder
from asterisk.data.corpus import Corpus, build_corpus, corpus_options, describe_counts
from asterisk.distillation.arguments import DistillationArguments
from asterisk.distillation.curves import plot_curves, read_curves
from asterisk.distillation.loop import Distillation
from asterisk.distillation.pairs import (
    ScoredTexts,
    find_pairs,
    find_scored_pairs,
    read_pairs,
    read_scored_pairs,
    write_pair_texts,
)
from asterisk.distillation.report import FEWEST_TEXTS, measure_models, write_agreement_report, write_measurements
from asterisk.distillation.student import new_student
from asterisk.distillation.student_tokenizer import NO_TOKENIZER, student_tokenizer
from asterisk.evaluation.sts import SentencePairs, read_sentence_pairs, sts_spearman
from asterisk.models.checkpoints import load_asterisk, model_type, save_student
from asterisk.models.resolve import resolve_model
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.teacher import Teacher, has_tokenizer, load_teacher
from asterisk.teachers.token_store import tokenize_corpus
from modeling_asterisk import AsteriskConfig, AsteriskModel

# Fields that may differ when a run is resumed: they change where things are or what is measured, not what is trained.
NOT_THE_RUN = ("output_dir", "store_dir", "resume", "sts_test", "api_batch_size")


@entry_point
def main() -> None:
    arguments = parse_arguments(DistillationArguments, __doc__ or "")
    for name in ("corpus", "output_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing; give it as a flag or in a recipe (--config recipes/demo.yaml).")
    folder = Path(arguments.output_dir)
    recipe = redact({name: value for name, value in dataclasses.asdict(arguments).items() if name not in NOT_THE_RUN})
    state = this_process()
    # What is wrong with the input shows before anything is written.
    if state.is_main_process:
        check_run_folder(folder, recipe, arguments.resume)
    check_student(arguments)
    set_seed(arguments.seed)
    existing = load_student_encoder(arguments) if arguments.encoder else None
    development, test = (
        [read_sentence_pairs(*benchmark(text)) for text in texts] for texts in (arguments.sts_dev, arguments.sts_test)
    )
    pairs = read_pairs(arguments.pairs, arguments.pair_columns) if arguments.pairs else None
    scored = read_scored_pairs(arguments.scored_pairs) if arguments.scored_pairs else None
    teacher = None
    if arguments.teacher:
        teacher = load_teacher(
            arguments.teacher,
            arguments.teacher_dtype,
            arguments.teacher_pooling,
            text_column=arguments.text_column,
            base_url=arguments.base_url or None,
            key_variable=arguments.key_variable,
            api_batch_size=arguments.api_batch_size or None,
        )

    store_dir = arguments.store_dir or folder / "store"
    store_folder = RemoteFolder(store_dir).local
    corpus = read_corpus(arguments, store_folder / "corpus", pairs, scored)
    # Before the teacher embeds anything, which may cost hours or money: a tokenizer that cannot be made is refused.
    tokenizer = existing[1] if existing else make_tokenizer(arguments, teacher, corpus)
    store = embed_corpus(corpus, teacher, store_dir) if teacher else None
    if teacher and store:
        cut = f"{store.truncated / len(store):.2%} of the sentences were truncated"
        state.print(f"Teacher: {arguments.teacher}, {teacher.dimension} dimensions; {cut}.")

    set_seed(arguments.seed)
    student = existing[0] if existing else make_student(arguments, teacher, tokenizer)
    size, dimensions = sum(weight.numel() for weight in student.parameters()), student.config.projection_dim
    state.print(f"Student: {size:,} parameters, {dimensions} dimensions, {len(tokenizer):,} tokens.")
    if arguments.simcse_weight and views_are_equal(student) and state.is_main_process:
        print(
            "warning: --simcse_weight contrasts two views of a sentence that only dropout makes differ, and this "
            "student has none; set --dropout 0.1, or take an encoder whose configuration has dropout.",
            file=sys.stderr,
        )
    longest = tokenizer.model_max_length
    tokens = (
        store.tokens(tokenizer, longest)
        if store
        else tokenize_corpus(corpus, tokenizer, longest, writable_folder(store_folder))
    )
    distillation = Distillation(
        student,
        tokens,
        store,
        arguments,
        folder,
        pairs=find_pairs(pairs, corpus) if pairs else None,
        scored=find_scored_pairs(scored, corpus) if scored else None,
        evaluate=(lambda model: sts_scores(model, tokenizer, development)) if development else None,
        is_trained=bool(arguments.encoder) and isinstance(student, AsteriskModel),
    )
    for kind, found, given in (
        ("labelled", distillation.pairs and len(distillation.pairs.anchors), pairs and len(pairs[0])),
        ("scored", distillation.scored and len(distillation.scored.first), scored and len(scored.first)),
    ):
        if given:
            state.print(
                f"{found:,} of {given:,} {kind} pairs teach; the others have a benchmark's text, or one text twice."
            )
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RUN_FILE, {"recipe": recipe, "versions": versions(), "store_dir": redact(str(store_dir))})
    trained = distillation.train(on_best=lambda model: save_student(model, tokenizer, folder / "best"))
    if state.is_main_process:
        # The plot is made last: where it is, all else is.
        plot = folder / "curves.png"
        if trained or not (plot.exists() and (folder / "model").exists()):
            plot.unlink(missing_ok=True)
            save_student(distillation.student, tokenizer, folder / "model")
            (folder / "results.json").unlink(missing_ok=True)
            remove_folder(folder / "report")
            plot_curves(read_curves(folder / "curves.jsonl"), plot)
        report(arguments, folder, distillation, test)


def read_corpus(
    arguments: DistillationArguments, folder: Path, pairs: list[list[str]] | None, scored: ScoredTexts | None
) -> Corpus:
    """The corpus, the labelled and scored pairs' texts among it, from disk if it is there."""
    measured = [benchmark(text)[0] for text in [*arguments.sts_dev, *arguments.sts_test]]
    labelled = []
    # Every process writes the pairs' texts for itself; the corpus knows them by their content.
    with tempfile.TemporaryDirectory() as scratch:
        if pairs is not None or scored is not None:
            labelled = [f"{scratch}/pairs.txt"]
            columns = [*(pairs or []), *([scored.first, scored.second] if scored else [])]
            write_pair_texts(columns, Path(labelled[0]))
        options = corpus_options(arguments)
        corpus = build_corpus(arguments.corpus, folder, labelled=labelled, measured=measured, **options)
    state = this_process()
    state.print(f"Corpus: {corpus.num_sentences:,} sentences ({describe_counts(corpus.counts)}).")
    if state.is_main_process and (included := [source for source in measured if not corpus.leaves_out(source)]):
        print(
            f"warning: {folder} was made before {redact(', '.join(included))} was to be measured, so that "
            "sentences of it may be trained on; give another --store_dir to have them left out.",
            file=sys.stderr,
        )
    return corpus


def views_are_equal(student: torch.nn.Module) -> bool:
    """Whether the student says the same twice in training, as without any dropout: then SimCSE teaches nothing."""
    token_ids = torch.tensor([[1, 2]] * 64)
    training = student.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = (student.train()(token_ids).pooler_output for _ in range(2))
    student.train(training)
    return torch.equal(first, second)


def sts_scores(model: Any, tokenizer: PreTrainedTokenizerFast, benchmarks: list[SentencePairs]) -> dict[str, float]:
    """Spearman × 100 on each benchmark."""

    def encode(texts: list[str]) -> np.ndarray:
        return model.encode(texts, tokenizer=tokenizer)

    return {pairs.name: sts_spearman(encode, pairs) for pairs in benchmarks}


def report(
    arguments: DistillationArguments, folder: Path, distillation: Distillation, test: list[SentencePairs]
) -> None:
    """Prints and writes the table, and the report on how far student and teacher agree, unless they are there."""
    results, page = folder / "results.json", folder / "report" / "report.html"
    measured = read_json(results) if results.exists() else []
    with_teacher = distillation.store is not None and len(distillation.heldout_rows) >= FEWEST_TEXTS
    up_to_date = [pairs.name for pairs in test] == (list(measured[0]["sts"]) if measured else [])
    if not up_to_date or (with_teacher and not page.exists()):
        measurements = measure_models(folder / "model", arguments.teacher, arguments.encoder, test) if test else []
        if test:
            write_measurements(folder, measurements)
        if with_teacher:
            write_agreement_report(page.parent, folder / "model", arguments.teacher, distillation, measurements, test)
    if test:
        print(f"\n{(folder / 'results.md').read_text(encoding='utf-8')}")
    print(f"The student is in {folder / 'model'}; its curves are in {folder / 'curves.png'}.")
    if with_teacher:
        print(f"How it agrees with its teacher on text it has not seen is in {page}.")


def make_tokenizer(
    arguments: DistillationArguments, teacher: Teacher | None, corpus: Corpus
) -> PreTrainedTokenizerFast:
    """The tokenizer of a new Asterisk."""
    assert teacher is not None  # see check_student
    texts = (text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index))
    return student_tokenizer(teacher, arguments.max_length, arguments.tokenizer, texts)


def make_student(
    arguments: DistillationArguments, teacher: Teacher | None, tokenizer: PreTrainedTokenizerFast
) -> AsteriskModel:
    """A new Asterisk."""
    config = student_config(arguments, len(tokenizer), tokenizer.pad_token_id)
    return new_student(config, teacher if arguments.table == "teacher" else None, tokenizer)


def load_student_encoder(arguments: DistillationArguments) -> tuple[Any, PreTrainedTokenizerFast]:
    """An Asterisk to be trained on, or another encoder; and its tokenizer."""
    location = Path(resolve_model(arguments.encoder))
    if model_type(location) == AsteriskConfig.model_type:
        dropout: dict[str, Any] = dict.fromkeys(
            ("hidden_dropout_prob", "attention_probs_dropout_prob"), arguments.dropout
        )
        return load_asterisk(arguments.encoder, location, AsteriskModel, **dropout)

    from asterisk.distillation.encoder_student import EncoderStudent

    student = EncoderStudent(
        arguments.encoder,
        arguments.keep_layers,
        arguments.encoder_pooling,
        arguments.average_layers,
        arguments.projection_dim,
        arguments.encoder_activation,
        arguments.max_length,
    )
    return student, student.tokenizer


def check_student(arguments: DistillationArguments) -> None:
    """Refuses what no student can be, before anything is computed."""
    student_config(arguments, vocab_size=1)
    if arguments.table not in ("teacher", "random"):
        raise UserError(f"--table must be teacher or random, not {arguments.table!r}.")
    if not arguments.teacher and not (arguments.encoder and arguments.simcse_weight):
        raise UserError(
            "--teacher is missing; without one, give an --encoder to train on by contrast alone (--simcse_weight 1), "
            "or a recipe (--config recipes/demo.yaml)."
        )
    takes_teachers_tokenizer = not arguments.encoder and arguments.tokenizer.partition(":")[0] in (
        "teacher",
        "extended",
    )
    if takes_teachers_tokenizer and not has_tokenizer(arguments.teacher):
        raise UserError(NO_TOKENIZER.format(arguments.teacher))


def student_config(
    arguments: DistillationArguments, vocab_size: int, pad_token_id: int | None = None
) -> AsteriskConfig:
    """The student's sizes, checked."""
    try:
        return AsteriskConfig(
            hidden_size=arguments.hidden_size,
            num_hidden_layers=arguments.num_hidden_layers,
            num_attention_heads=arguments.num_attention_heads,
            intermediate_size=arguments.intermediate_size,
            # An encoder may go without a projection; an Asterisk may not.
            projection_dim=arguments.projection_dim or (1 if arguments.encoder else 0),
            max_position_embeddings=arguments.max_length,
            position_encoding=arguments.position_encoding,
            is_causal=arguments.is_causal,
            hidden_dropout_prob=arguments.dropout,
            attention_probs_dropout_prob=arguments.dropout,
            vocab_size=vocab_size,
            pad_token_id=pad_token_id,
        )
    except ValueError as error:
        raise UserError(str(error)) from None


def benchmark(text: str) -> tuple[str, str]:
    """Source and name of a benchmark given as NAME=SOURCE."""
    name, separator, source = text.partition("=")
    if not separator or not name or not source:
        raise UserError(f"--sts_test and --sts_dev take NAME=FILE or NAME=HUB_DATASET, not {text!r}.")
    return source, name


def versions() -> dict[str, str]:
    """What this run was computed with, for its record."""
    packages = ("accelerate", "datasets", "sentence-transformers", "torch", "transformers")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
