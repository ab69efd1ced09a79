"""Proof that all forms of a published folder say the same, and what the small ones lose."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.evaluation.sts import SentencePairs, sts_spearman
from asterisk.publishing import consumers
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.onnx_export import HALF, QUANTIZED, SMALLEST

# The least cosine to the checkpoint's own output, of forms that compute in float32 and of those that do not.
FULL_TOLERANCE = 0.9999
REDUCED_TOLERANCE = 0.999

# Where consumers differ, if they do: nothing to read, one character, and more than fits.
EDGES = ["", "a", "?", "Über Straßenbahnen – 東京 🙂", "rain " * 400]


def verify(checkpoint: Checkpoint, folder: Path, pairs: SentencePairs, half: bool) -> dict[str, Any]:
    """Compares every form of the folder with the checkpoint.

    Args:
        checkpoint: What was published.
        folder: The folder made of it.
        pairs: The sentences that are embedded, and, of an embedding model, the benchmark that shows what is lost.
        half: Whether the folder's weights are in float16.

    Returns:
        The record: how many texts, and of each form its size in bytes, its tolerance, its lowest and mean cosine (the
        lowest of an ONNX file is that of both its outputs) and, of an embedding model, its Spearman correlation × 100
        on the benchmark; of a classifier the cosine is that of all texts' logits together, less where their scale
        differs, and `same_label` the share of texts whose best label is the same.

    Raises:
        UserError: A form cannot be computed, or differs by more than its tolerance.
    """
    texts = [*dict.fromkeys([*pairs.first, *pairs.second]), *EDGES]
    # What a tokenizer finds no token in has no embedding, and each consumer its own way to say so.
    texts = [
        text for text in texts if checkpoint.tokenizer(text, truncation=checkpoint.max_length is not None)["input_ids"]
    ]
    expected = checkpoint.output(texts)
    row = {text: index for index, text in enumerate(texts)}

    def described(name: str, output: np.ndarray) -> dict[str, Any]:
        reduced = half or Path(name).name in (HALF, QUANTIZED, SMALLEST)
        line: dict[str, Any] = {"tolerance": REDUCED_TOLERANCE if reduced else FULL_TOLERANCE}
        if checkpoint.is_classifier:
            line["lowest_cosine"] = line["mean_cosine"] = _likeness(output, expected)
            if expected.shape[1] > 1:
                line["same_label"] = float((output.argmax(axis=1) == expected.argmax(axis=1)).mean())
        else:
            cosines = [_cosine(one, other) for one, other in zip(output, expected, strict=True)]
            line["lowest_cosine"], line["mean_cosine"] = min(cosines), float(np.mean(cosines))
            line[pairs.name] = sts_spearman(lambda asked: output[[row[text] for text in asked]], pairs)
        file = folder / (name if name.startswith("onnx/") else "model.safetensors")
        return {"bytes": file.stat().st_size, **line}

    outputs = {"checkpoint": expected, **outputs_of_forms(folder, texts)}
    record = {name: described(name, output) for name, output in outputs.items() if not name.endswith(consumers.POOLED)}
    for name, line in record.items():
        if (pooled := outputs.get(name + consumers.POOLED)) is not None:
            lowest = min(_cosine(one, other) for one, other in zip(pooled, expected, strict=True))
            line["lowest_cosine"] = float(np.minimum(line["lowest_cosine"], lowest))  # keeps what is not a number
    record["checkpoint"].pop("bytes")
    for name, line in record.items():
        if not line["lowest_cosine"] >= line["tolerance"]:  # nor is what is not a number
            raise UserError(
                f"The form {name} differs from the checkpoint {checkpoint.folder}: its cosine is "
                f"{line['lowest_cosine']:.6f}, below {line['tolerance']}; nothing was published."
            )
    return {"texts": len(texts), "forms": record}


def outputs_of_forms(folder: Path, texts: list[str]) -> dict[str, np.ndarray]:
    """What each form of a folder says to the texts, as a process without this repository computes it."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "texts.json", Path(scratch) / "outputs.npz"
        source.write_text(json.dumps(texts), encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-P", consumers.__file__, str(folder.resolve()), str(source), str(target)],
            cwd=scratch,
            # Its own cache of remote code, so that none of another folder's is used.
            env={**os.environ, "HF_MODULES_CACHE": f"{scratch}/modules", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"The published folder does not load as its users would load it: {reason[:300]}")
        with np.load(target) as outputs:
            return dict(outputs)


def _likeness(output: np.ndarray, expected: np.ndarray) -> float:
    """The cosine of two arrays of one length, and less than that where their lengths differ, too."""
    output, expected = output.astype(np.float64), expected.astype(np.float64)
    return float(1 - ((output - expected) ** 2).sum() / max(2 * (expected**2).sum(), 1e-12))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12))
