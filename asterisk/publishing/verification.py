"""Verify that all forms of a published folder agree, and record the loss of the smaller ones."""

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
from asterisk.models.onnx import exit_file
from asterisk.publishing import consumers, openvino_export
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.onnx_export import HALF, QUANTIZED, SMALLEST

# The lowest accepted cosine to the checkpoint's output, for forms that compute in float32 and for all others.
FULL_TOLERANCE = 0.9999
REDUCED_TOLERANCE = 0.999
# OpenVINO's int8 form quantises every matrix product. Some vectors change a lot, but scores hardly do.
QUANTIZED_TOLERANCE = 0.9

# Texts that consumers may treat differently: empty, of one character, in other scripts, beyond the maximum length.
EDGE_TEXTS = ["", "a", "?", "Über Straßenbahnen – 東京 🙂", "rain " * 400]


def verify(checkpoint: Checkpoint, folder: Path, pairs: SentencePairs, half: bool) -> dict[str, Any]:
    """Compare every form of the folder with the checkpoint.

    Args:
        checkpoint: The published model.
        folder: The folder made from it.
        pairs: The sentences to embed and, for an embedding model, the benchmark that measures the loss.
        half: Whether the folder's weights are in float16.

    Returns:
        The number of texts, and for each form its size in bytes, its tolerance, and its lowest and mean cosine to the
        checkpoint or its exit. An ONNX file's lowest cosine covers both of its outputs. An embedding model's form also
        has its Spearman correlation × 100 on the benchmark. A classifier's cosine is over the logits of all texts, and
        is lower if their scale differs; `same_label` is the share of texts with the same best label.

    Raises:
        UserError: A form does not load, or differs by more than its tolerance.
    """
    texts = [*dict.fromkeys([*pairs.first, *pairs.second]), *EDGE_TEXTS]
    # Consumers disagree on texts without any token, which have no embedding.
    limited = checkpoint.max_length is not None
    texts = [text for text in texts if checkpoint.tokenizer(text, truncation=limited)["input_ids"]]
    exits = [] if checkpoint.is_classifier else checkpoint.config.exit_layers or []
    of_exit = {f"onnx/{exit_file(layers)}": checkpoint.at(layers).output(texts) for layers in exits}
    whole = checkpoint.output(texts)
    row = {text: index for index, text in enumerate(texts)}
    outputs = {"checkpoint": whole, **outputs_of_forms(folder, texts)}
    record = {}
    for name, output in outputs.items():
        if name.endswith(consumers.POOLED):
            continue
        line: dict[str, Any] = {}
        expected = of_exit.get(name, whole)
        if name != "checkpoint":
            file = folder / (name if "/" in name else "model.safetensors")
            line["bytes"] = file.with_suffix(".bin" if file.suffix == ".xml" else file.suffix).stat().st_size
        reduced = half or name in of_exit or Path(name).name in (HALF, QUANTIZED, SMALLEST, openvino_export.FULL)
        line["tolerance"] = REDUCED_TOLERANCE if reduced else FULL_TOLERANCE
        if Path(name).name == openvino_export.QUANTIZED:
            line["tolerance"] = QUANTIZED_TOLERANCE
        if checkpoint.is_classifier:
            line["lowest_cosine"] = line["mean_cosine"] = _scaled_cosine(output, expected)
            if expected.shape[1] > 1:
                line["same_label"] = float((output.argmax(axis=1) == expected.argmax(axis=1)).mean())
        else:
            cosines = _cosines(output, expected)
            pooled = outputs.get(name + consumers.POOLED, output)
            line["lowest_cosine"] = float(np.minimum(cosines, _cosines(pooled, expected)).min())
            line["mean_cosine"] = float(cosines.mean())
            line[pairs.name] = sts_spearman(lambda asked: output[[row[text] for text in asked]], pairs)  # noqa: B023
        if not line["lowest_cosine"] >= line["tolerance"]:  # also refuses NaN
            raise UserError(
                f"The form {name} differs from the checkpoint {checkpoint.folder}: its cosine is "
                f"{line['lowest_cosine']:.6f}, below {line['tolerance']}; nothing was published."
            )
        record[name] = line
    return {"texts": len(texts), "forms": record}


def outputs_of_forms(folder: Path, texts: list[str]) -> dict[str, np.ndarray]:
    """Compute the output of each form in a process without this repository."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "texts.json", Path(scratch) / "outputs.npz"
        source.write_text(json.dumps(texts), encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-P", consumers.__file__, str(folder.resolve()), str(source), str(target)],
            cwd=scratch,
            # A fresh cache of remote code, so that no other folder's code runs.
            env={**os.environ, "HF_MODULES_CACHE": f"{scratch}/modules", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"The published folder does not load in its consumers' libraries: {reason[:300]}")
        with np.load(target) as outputs:
            return dict(outputs)


def _scaled_cosine(output: np.ndarray, expected: np.ndarray) -> float:
    """Return the cosine of two arrays, reduced if their norms differ."""
    output, expected = output.astype(np.float64), expected.astype(np.float64)
    return float(1 - ((output - expected) ** 2).sum() / max(2 * (expected**2).sum(), 1e-12))


def _cosines(output: np.ndarray, expected: np.ndarray) -> np.ndarray:
    output, expected = output.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(output, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (output * expected).sum(axis=1) / np.maximum(norms, 1e-12)
    # At depth 0, a text of special tokens alone has no embedding: zeros.
    return np.where(output.any(axis=1) | expected.any(axis=1), cosines, 1)
