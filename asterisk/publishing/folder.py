"""A checkpoint folder becomes a Hub folder that every consumer reads."""

import shutil
from pathlib import Path
from typing import Any

import torch

from asterisk.core.checksums import CHECKSUMS, write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, read_json, write_json
from asterisk.evaluation.sts import SentencePairs
from asterisk.models.tokenizers import save_tokenizer
from asterisk.publishing import handler
from asterisk.publishing.card import CardFacts, read_card_content, write_card
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.native import write_native_model
from asterisk.publishing.onnx_export import write_onnx_files
from asterisk.publishing.sentence_transformers_files import write_sentence_transformers_files
from asterisk.publishing.verification import verify

REPOSITORY = Path(__file__).resolve().parents[2]

# The record of how far the forms agree.
FORMS = "forms.json"

DTYPES = {"float32": torch.float32, "float16": torch.float16}


def build_folder(
    checkpoint: Checkpoint,
    output: Path,
    pairs: SentencePairs,
    facts: CardFacts,
    dtype: str = "float32",
    compact: bool = False,
) -> dict[str, Any]:
    """Makes the folder; it appears whole and verified, or not at all.

    Args:
        checkpoint: What is published.
        output: The folder; what is there is replaced.
        pairs: Sentences that all forms are compared on.
        facts: What the card tells; `facts.native` asks for the twin without remote code.
        dtype: Of the weights in their file: "float32" or "float16". They are loaded as float32.
        compact: Leaves out all ONNX files but the smallest.

    Returns:
        The record of how far the forms agree, as [`asterisk.publishing.verification.verify`] gives it.

    Raises:
        UserError: The checkpoint cannot be published so, or its forms differ.
    """
    if dtype not in DTYPES:
        raise UserError(f"--dtype must be {' or '.join(DTYPES)}, not {dtype!r}.")
    check_target(output)
    content = read_card_content(checkpoint, facts)
    with atomic_folder(output) as folder:
        write_model(checkpoint, folder, dtype, facts.native)
        save_tokenizer(checkpoint.tokenizer, folder)
        write_onnx_files(checkpoint, folder / "onnx", compact)
        shutil.copy(REPOSITORY / "LICENSE", folder / "LICENSE")
        record = verify(checkpoint, folder, pairs, half=dtype == "float16")
        write_json(folder / FORMS, record)
        write_card(checkpoint, folder, record, pairs, facts, content)
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o644)  # safetensors are written for their owner's eyes only
        write_checksums(folder)
    return record


def check_target(output: Path) -> None:
    """Refuses to replace what is not a published folder."""
    if output.exists() and not (output / CHECKSUMS).exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} is there, but is no published folder; give an --output_dir that may be replaced.")


def write_model(checkpoint: Checkpoint, folder: Path, dtype: str, native: bool) -> None:
    """Writes weights, configuration and the code or files by which they are read."""
    if native:
        write_native_model(checkpoint, folder, DTYPES[dtype])
    else:
        weights = {name: each.to(DTYPES[dtype]) for name, each in checkpoint.model.state_dict().items()}
        checkpoint.model.save_pretrained(folder, state_dict=weights)
        if not checkpoint.is_classifier:
            write_sentence_transformers_files(checkpoint, folder)
        shutil.copy(handler.__file__, folder / "handler.py")
    # What models are loaded in, which is for the weights' file to be small, not for processors to compute in halves:
    # they take several times as long.
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "dtype": "float32"})
