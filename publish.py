"""Turn a trained checkpoint into a Hub folder, and push it.

    python publish.py runs/demo/model --output_dir release/demo
    python publish.py runs/demo/model --output_dir H --results runs/demo/mteb/summary.json --repo_id me/demo --tag v1
    python publish.py --output_dir H --repo_id me/demo --tag v1 --push
    python publish.py runs/demo/model --output_dir H --native
    python publish.py runs/demo/model --output_dir H --layers 1

The checkpoint is a folder of train_distill.py or train_head.py. The Hub folder holds the weights with their code, the
files of sentence-transformers, ONNX files (float32, float16, int8), a handler for Inference Endpoints, the model card
and SHA256SUMS. The folder is written only if all forms give the same embeddings. Without a checkpoint, --push uploads
an existing folder in one commit, with the token of HF_TOKEN or `hf auth login`. A new repository is private unless
--public is given.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.processes import require_one_process
from asterisk.publishing.resources import resource


@dataclass
class FolderArguments:
    """Folder: the checkpoint, and the Hub folder that it becomes."""

    checkpoint: str = option("", "the model's folder; may stand first, without the flag")
    output_dir: str = option("", "the Hub folder; an earlier one is replaced")
    dtype: str = option("float32", "type of the weights: float32 or float16")
    compact: bool = option(False, "write two ONNX files: model.onnx, stored in float16, and model_int8.onnx")
    gguf: bool = option(False, "write GGUF files for llama.cpp and Ollama, too")
    native: bool = option(False, "write an architecture of transformers, which needs no remote code")
    layers: int = option(
        -1, "publish the exit after so many layers; 0 writes a static model (default: the whole model)"
    )
    sts: str = option(
        "",
        "NAME=FILE of scored sentence pairs, on which the forms are compared "
        "(default: the STS-B captions in recipes/sts_captions)",
    )


@dataclass
class CardArguments:
    """Card: the facts that the model card states."""

    results: list[str] = option([], "summary.json, results.json or report.json (default: those beside the checkpoint)")
    training_data: str = option("", "YAML of the texts' licences (default: licences.yaml beside the texts)")
    examples: list[str] = option([], "texts for the widget and the snippets (default: from --sts)")
    base_model: str = option("", "Hub id of the teacher, or of a head's backbone")
    license: str = option("apache-2.0", "the Hub's name of the weights' licence")
    language: list[str] = option(["en"], "the Hub's names of the texts' languages")


@dataclass
class PushArguments:
    """Push: the upload to the Hub."""

    push: bool = option(False, "upload the folder to --repo_id")
    repo_id: str = option("", "owner/name on the Hub, which the card's snippets load")
    public: bool = option(False, "make a new repository public")
    revision: str = option("", "the branch to push to (default: main)")
    tag: str = option("", "tag of the commit; the card's snippets pin it")
    create_pr: bool = option(False, "open a pull request instead of committing")
    dry_run: bool = option(False, "list what --push would upload, and upload nothing")


@dataclass
class PublishArguments(PushArguments, CardArguments, FolderArguments):
    """All arguments of publish.py."""


@entry_point
def main() -> None:
    """Build, list or push the folder."""
    require_one_process()
    arguments = parse_arguments(PublishArguments, __doc__ or "", first="checkpoint")
    check(arguments)
    from asterisk.publishing.push import PushOptions, check_published, check_push, list_files, push_folder

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
    from asterisk.publishing.static_folder import build_static_folder
    from asterisk.publishing.training_run import NOT_STATED, read_training_run

    sts = arguments.sts or f"STS-B captions={resource('recipes/sts_captions/test.jsonl')}"
    name, separator, source = sts.partition("=")
    if not separator or not name or not source:
        raise UserError(f"--sts takes NAME=FILE, not {sts!r}.")
    checkpoint = load_checkpoint(Path(arguments.checkpoint), arguments.layers if arguments.layers >= 0 else None)
    pairs = read_sentence_pairs(source, name)
    if arguments.layers == 0:
        repo_id = arguments.repo_id or str(folder)
        build_static_folder(checkpoint, folder, pairs.first, repo_id, arguments.license, arguments.language)
        print(f"The static model is {folder}; model2vec and sentence-transformers load it.")
        return
    sources = read_training_run(checkpoint.folder, arguments.training_data).sources
    if unstated := [source.name for source in sources if source.licence == NOT_STATED]:
        print(
            f"warning: the card does not state the licence of {', '.join(unstated)}; give --training_data.",
            file=sys.stderr,
        )
    record = build_folder(
        checkpoint,
        folder,
        pairs,
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
        arguments.gguf,
    )
    if arguments.native and checkpoint.config.projection_dim:
        print(
            "warning: clients that skip the twin's Dense module return other vectors; the card says so.",
            file=sys.stderr,
        )
    print(f"{forms_table(record)}\n\nThe Hub folder is {folder}; its card is {folder / 'README.md'}.")


if __name__ == "__main__":
    main()
