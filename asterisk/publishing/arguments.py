"""The arguments of publish.py; this module imports nothing heavy."""

import re
from dataclasses import dataclass

from asterisk.core.arguments import option
from asterisk.core.errors import UserError


@dataclass
class FolderArguments:
    """Folder: the checkpoint, and the Hub folder that it becomes."""

    checkpoint: str = option("", "the model's folder; may come first, without the flag")
    output_dir: str = option("", "the Hub folder; an earlier published folder is replaced", required=True)
    dtype: str = option("float32", "type of the weights: float32 or float16", choices=("float32", "float16"))
    compact: bool = option(
        False, "write only two ONNX files: model.onnx, stored in float16 and int8, and model_int8.onnx"
    )
    gguf: bool = option(False, "also write GGUF files for llama.cpp and Ollama; with --compact, only Q8_0")
    openvino: list[str] = option(
        [],
        "files of texts like the training texts, on which OpenVINO files are quantised (default: no OpenVINO files)",
    )
    native: bool = option(False, "write the model under a transformers architecture, which needs no remote code")
    layers: int = option(
        -1, "publish the exit after this many layers; 0 writes a static model (default: the whole model)", least=-1
    )
    space: str = option("", "publish a model with embeddings in this teacher's space; teacher means the first teacher")
    sts: str = option(
        "",
        "NAME=FILE: scored sentence pairs, on which the published forms are compared "
        "(default: the STS-B captions in recipes/sts_captions)",
    )


@dataclass
class CardArguments:
    """Card: the facts that the model card states."""

    results: list[str] = option(
        [], "summary.json, results.json or report.json (default: the one beside the checkpoint)"
    )
    dial: str = option("", "dial.json of benchmarks/dial.py: the scores and speeds at each depth")
    training_data: str = option("", "YAML of the texts' licences (default: licences.yaml beside the texts)")
    examples: list[str] = option([], "texts for the widget and the snippets (default: from --sts)")
    base_model: str = option("", "Hub id of the teacher, or of a head's backbone")
    license: str = option("apache-2.0", "the licence of the weights, by its name on the Hub")
    language: list[str] = option(["en"], "the languages of the texts, by their codes on the Hub")


@dataclass
class PushArguments:
    """Push: the upload to the Hub."""

    push: bool = option(False, "upload the folder to --repo_id")
    repo_id: str = option("", "the repository, owner/name, which the card's snippets also load")
    public: bool = option(False, "make a new repository public")
    revision: str = option("", "the branch to push to (default: main)")
    tag: str = option("", "tag of the commit, which the card's snippets pin")
    create_pr: bool = option(False, "open a pull request instead of committing")
    dry_run: bool = option(False, "list what --push would upload, and upload nothing")


@dataclass
class PublishArguments(PushArguments, CardArguments, FolderArguments):
    """All arguments of publish.py."""

    @property
    def location(self) -> str:
        """The Hub id that the card's snippets load, or the folder of a model that stays on this machine."""
        return self.repo_id or self.output_dir

    @property
    def pin(self) -> str:
        """The branch or tag that the card's snippets load."""
        return self.tag or self.revision or "main"


def check_arguments(arguments: PublishArguments) -> None:
    """Refuse contradictory arguments before anything is loaded."""
    if not (arguments.checkpoint or arguments.push or arguments.dry_run):
        raise UserError("There is nothing to do: give a checkpoint, --push or --dry_run.")
    if arguments.openvino and (arguments.native or arguments.layers == 0):
        raise UserError("--openvino converts the ONNX file, which --native and --layers 0 leave out.")
    if arguments.space and arguments.layers == 0:
        raise UserError("--space needs a model with layers; --layers 0 writes a static model.")
    for name, values in (("license", [arguments.license]), ("language", arguments.language)):
        if wrong := [value for value in values if not re.fullmatch(r"[\w.+-]+", value)]:
            raise UserError(f"--{name} takes the Hub's names, such as apache-2.0 and en, not {wrong[0]!r}.")
    if arguments.push and not arguments.repo_id:
        raise UserError("--push needs a --repo_id, such as me/my-model.")
