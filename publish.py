"""Turn a trained checkpoint into a Hub folder, and push it.

    python publish.py runs/demo/model --output_dir release/demo
    python publish.py runs/demo/model --output_dir H --results runs/demo/mteb/summary.json --repo_id me/demo --tag v1
    python publish.py --output_dir H --repo_id me/demo --tag v1 --push
    python publish.py runs/demo/model --output_dir H --native
    python publish.py runs/demo/model --output_dir H --layers 1
    python publish.py runs/demo/model --output_dir H --space all-MiniLM-L6-v2
    python publish.py runs/demo/model --output_dir H --openvino texts.txt

The checkpoint is a folder of train_distill.py or train_head.py. The Hub folder holds the weights with their code, the
files of sentence-transformers, ONNX files (float32, float16, int8), a handler for Inference Endpoints, the model card
and SHA256SUMS. The folder is written only if all forms give the same embeddings. Without a checkpoint, --push uploads
an existing folder in one commit, with the token of HF_TOKEN or `hf auth login`. A new repository is private unless
--public is given.
"""

import sys
from pathlib import Path

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.processes import require_one_process
from asterisk.publishing.arguments import PublishArguments, check_arguments
from asterisk.publishing.resources import resource


@entry_point
def main() -> None:
    """Build, list or push the folder."""
    require_one_process()
    arguments = parse_arguments(PublishArguments, __doc__ or "", first="checkpoint")
    check_arguments(arguments)
    from asterisk.publishing.push import check_published, check_push, list_files, push_folder

    folder = Path(arguments.output_dir)
    if arguments.repo_id:
        check_push(arguments)
    if arguments.checkpoint:
        build(arguments, folder)
    check_published(folder)
    if arguments.dry_run:
        print(f"{list_files(folder)}\nNothing was uploaded to {arguments.repo_id or 'the Hub'}.")
    elif arguments.push:
        print(f"Pushed: {push_folder(folder, arguments)}")


def build(arguments: PublishArguments, folder: Path) -> None:
    """Write the folder and print the agreement of its forms."""
    # Pushing an existing folder needs none of these imports.
    from asterisk.evaluation.sts import read_sentence_pairs
    from asterisk.publishing.card import forms_table
    from asterisk.publishing.checkpoint import load_checkpoint
    from asterisk.publishing.folder import build_folder
    from asterisk.publishing.static_folder import build_static_folder
    from asterisk.publishing.training_run import NOT_STATED, read_training_run

    sts = arguments.sts or f"STS-B captions={resource('recipes/sts_captions/test.jsonl')}"
    name, separator, source = sts.partition("=")
    if not separator or not name or not source:
        raise UserError(f"--sts takes NAME=FILE, not {sts!r}.")
    layers = arguments.layers if arguments.layers >= 0 else None
    checkpoint = load_checkpoint(Path(arguments.checkpoint), layers, arguments.space)
    pairs = read_sentence_pairs(source, name)
    if arguments.layers == 0:
        build_static_folder(checkpoint, folder, pairs.first, arguments.location, arguments.license, arguments.language)
        print(f"The static model is {folder}; model2vec and sentence-transformers load it.")
        return
    sources = read_training_run(checkpoint.folder, arguments.training_data).sources
    if unstated := [source.name for source in sources if source.licence == NOT_STATED]:
        print(
            f"warning: the card does not state the licence of {', '.join(unstated)}; give --training_data.",
            file=sys.stderr,
        )
    record = build_folder(checkpoint, folder, pairs, arguments)
    if arguments.native and checkpoint.config.projection_dim:
        print(
            "warning: clients that skip the twin's Dense module return other vectors; the card says so.",
            file=sys.stderr,
        )
    print(f"{forms_table(record)}\n\nThe Hub folder is {folder}; its card is {folder / 'README.md'}.")


if __name__ == "__main__":
    main()
