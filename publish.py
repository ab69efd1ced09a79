"""Turn a trained checkpoint into a Hub folder, and push it.

    python publish.py runs/demo/model --output_dir release/demo
    python publish.py runs/demo/model --output_dir H --results runs/demo/mteb/summary.json --repo_id me/demo --tag v1
    python publish.py --output_dir H --repo_id me/demo --tag v1 --push
    python publish.py runs/demo/model --output_dir H --native

The checkpoint is a folder of train_distill.py or train_head.py. The Hub folder holds the weights with their code, the
files of sentence-transformers, ONNX files (float32, float16, int8), a handler for Inference Endpoints, the model card
and SHA256SUMS. It appears once all forms have given the same embeddings; otherwise nothing is written. Without a
checkpoint, --push uploads an existing folder in one commit, to a private repository unless --public is given, with the
token of HF_TOKEN or `hf auth login`.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.publishing.push import PushOptions, check_published, check_push, list_files, push_folder
from asterisk.publishing.resources import resource


@dataclass
class PublishArguments:
    """What is published, where to, and what the card says of it."""

    checkpoint: str = field(default="", metadata={"help": "the model's folder; may stand first, without its flag"})
    output_dir: str = field(default="", metadata={"help": "the Hub folder; an earlier one is replaced"})
    dtype: str = field(default="float32", metadata={"help": "float32 or float16, of the weights"})
    compact: bool = field(
        default=False, metadata={"help": "of the ONNX files only the smallest, onnx/model_int8.onnx"}
    )
    native: bool = field(
        default=False, metadata={"help": "without remote code, as an architecture that transformers has"}
    )
    sts: str = field(
        default=f"STS-B captions={resource('recipes/sts_captions/test.jsonl')}",
        metadata={"help": "NAME=FILE of scored sentence pairs: what the forms are compared on"},
    )
    results: list[str] = field(
        default_factory=list,
        metadata={"help": "summary.json, results.json or report.json for the card (default: beside the checkpoint)"},
    )
    training_data: str = field(
        default="", metadata={"help": "YAML of the texts' licences (default: licences.yaml beside the texts)"}
    )
    examples: list[str] = field(
        default_factory=list, metadata={"help": "texts for the card's widget and snippets (default: of --sts)"}
    )
    base_model: str = field(default="", metadata={"help": "Hub id of the teacher, or of a head's backbone"})
    license: str = field(default="apache-2.0", metadata={"help": "of the weights, as the Hub calls it"})
    language: list[str] = field(default_factory=lambda: ["en"], metadata={"help": "of the texts, as the Hub calls it"})
    push: bool = field(default=False, metadata={"help": "upload the folder to --repo_id"})
    repo_id: str = field(default="", metadata={"help": "owner/name on the Hub, which the card's snippets load"})
    public: bool = field(default=False, metadata={"help": "make a new repository public"})
    revision: str = field(default="", metadata={"help": "the branch to push to (default: main)"})
    tag: str = field(default="", metadata={"help": "names the commit; the card's snippets pin it"})
    create_pr: bool = field(default=False, metadata={"help": "open a pull request instead of committing"})
    dry_run: bool = field(default=False, metadata={"help": "list what --push would upload, and upload nothing"})


@entry_point
def main() -> None:
    """Build, list or push the folder."""
    argv = sys.argv[1:]
    if argv and not argv[0].startswith("-"):
        argv = ["--checkpoint", *argv]
    arguments = parse_arguments(PublishArguments, __doc__ or "", argv)
    check(arguments)
    folder = Path(arguments.output_dir)
    options = PushOptions(arguments.repo_id, arguments.public, arguments.revision, arguments.tag, arguments.create_pr)
    if arguments.repo_id:
        check_push(options)
    if arguments.checkpoint:
        build(arguments, folder)
    check_published(folder)
    if arguments.dry_run:
        print(f"{list_files(folder)}\nNothing was uploaded to {arguments.repo_id or 'the Hub'}.")
    elif arguments.push:
        print(f"Pushed: {push_folder(folder, options)}")


def check(arguments: PublishArguments) -> None:
    """Refuse contradictory arguments before anything is loaded."""
    if not arguments.output_dir:
        raise UserError("--output_dir is missing; --help shows whole commands.")
    if not (arguments.checkpoint or arguments.push or arguments.dry_run):
        raise UserError("There is nothing to do: give a checkpoint, --push or --dry_run.")
    if arguments.push and not arguments.repo_id:
        raise UserError("--push needs a --repo_id, such as me/my-model.")


def build(arguments: PublishArguments, folder: Path) -> None:
    """Write the folder and print the agreement of its forms."""
    # Pushing an existing folder needs none of these imports.
    from asterisk.evaluation.sts import read_sentence_pairs
    from asterisk.publishing.card import CardFacts, forms_table
    from asterisk.publishing.checkpoint import load_checkpoint
    from asterisk.publishing.folder import build_folder
    from asterisk.publishing.training_run import NOT_STATED, read_training_run

    name, separator, source = arguments.sts.partition("=")
    if not separator or not name or not source:
        raise UserError(f"--sts takes NAME=FILE, not {arguments.sts!r}.")
    checkpoint = load_checkpoint(Path(arguments.checkpoint))
    sources = read_training_run(checkpoint.folder, arguments.training_data).sources
    if unstated := [source.name for source in sources if source.licence == NOT_STATED]:
        print(
            f"warning: the card does not state the licence of {', '.join(unstated)}; give --training_data.",
            file=sys.stderr,
        )
    record = build_folder(
        checkpoint,
        folder,
        read_sentence_pairs(source, name),
        CardFacts(
            repo_id=arguments.repo_id or str(folder),
            revision=arguments.tag or arguments.revision or "main",
            license=arguments.license,
            languages=arguments.language,
            base_model=arguments.base_model,
            results=arguments.results,
            training_data=arguments.training_data,
            examples=arguments.examples,
            native=arguments.native,
        ),
        arguments.dtype,
        arguments.compact,
    )
    if arguments.native:
        print(
            "warning: clients that skip the twin's Dense module return other vectors; its card says so.",
            file=sys.stderr,
        )
    print(f"{forms_table(record)}\n\nThe Hub folder is {folder}; its card is {folder / 'README.md'}.")


if __name__ == "__main__":
    main()
