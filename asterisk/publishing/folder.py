"""Turn a checkpoint into a Hub folder that every consumer can read."""

import shutil
from pathlib import Path
from typing import Any

import torch

from asterisk.core.arguments import check_options
from asterisk.core.checksums import CHECKSUMS, write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, read_json, write_json
from asterisk.evaluation.sts import SentencePairs
from asterisk.models.tokenizers import save_tokenizer
from asterisk.publishing import handler
from asterisk.publishing.arguments import PublishArguments
from asterisk.publishing.card import read_card_content, write_card
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.native import write_native_model
from asterisk.publishing.onnx_export import FULL, SMALLEST, write_onnx_files
from asterisk.publishing.openvino_export import calibration_texts, write_openvino_files
from asterisk.publishing.resources import resource
from asterisk.publishing.sentence_transformers_files import write_sentence_transformers_files
from asterisk.publishing.verification import verify

# The record of the verification.
FORMS = "forms.json"
# The record of the dial, which the demo page shows.
DIAL = "dial.json"

DTYPES = {"float32": torch.float32, "float16": torch.float16}


def build_folder(
    checkpoint: Checkpoint, output: Path, pairs: SentencePairs, arguments: PublishArguments
) -> dict[str, Any]:
    """Write the Hub folder; it appears only if it is complete and verified.

    Args:
        checkpoint: The model to publish.
        output: The folder; an earlier published folder is replaced.
        pairs: Sentence pairs on which all forms are compared.
        arguments: The settings of the folder, and the publisher's statements for the card.

    Returns:
        The record of [`asterisk.publishing.verification.verify`].

    Raises:
        UserError: The checkpoint cannot be published with these settings, or one of its forms differs.
    """
    check_options(arguments)
    if output.exists() and not (output / CHECKSUMS).exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists but is not a published folder; give an --output_dir that may be replaced.")
    content = read_card_content(checkpoint, arguments)
    texts = calibration_texts(arguments.openvino) if arguments.openvino else []
    with atomic_folder(output) as folder:
        write_model(checkpoint, folder, arguments)
        if arguments.gguf:
            from asterisk.publishing.gguf_export import write_gguf_files

            write_gguf_files(checkpoint, folder / "gguf", arguments.compact)
        save_tokenizer(checkpoint.tokenizer, folder)
        if texts:
            write_openvino_files(folder / "onnx" / FULL, folder / "openvino", texts)
        shutil.copy(resource("LICENSE"), folder / "LICENSE")
        record = verify(checkpoint, folder, pairs, half=arguments.dtype == "float16")
        write_json(folder / FORMS, record)
        if content.dial:
            write_json(folder / DIAL, content.dial)
        write_card(checkpoint, folder, record, pairs, arguments, content)
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o644)  # safetensors restricts its files to their owner
        write_checksums(folder)
    return record


def write_model(checkpoint: Checkpoint, folder: Path, arguments: PublishArguments) -> None:
    """Write the weights in all their forms, the configuration, and the code or module files that read them."""
    settings: dict[str, Any] = {}
    # float16 only makes the file smaller, since processors compute several times slower in it.
    dtype = DTYPES[arguments.dtype]
    if arguments.native:
        # No ONNX files: sentence-transformers would apply the Dense module to output that is already projected.
        write_native_model(checkpoint, folder, dtype)
    else:
        weights = {name: each.to(dtype) for name, each in checkpoint.model.state_dict().items()}
        checkpoint.model.save_pretrained(folder, state_dict=weights)
        if not checkpoint.is_classifier:
            write_sentence_transformers_files(checkpoint, folder)
        write_onnx_files(checkpoint, folder / "onnx", arguments.compact)
        shutil.copy(handler.__file__, folder / "handler.py")
        if arguments.compact:
            # By default, transformers.js loads files that a compact folder lacks.
            settings["transformers.js_config"] = {"dtype": Path(SMALLEST).stem.removeprefix("model_")}
    # The weights load as float32.
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "dtype": "float32", **settings})
