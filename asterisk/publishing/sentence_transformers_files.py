"""The files by which sentence-transformers, text-embeddings-inference and others know how token vectors are pooled.

Written by hand, since no release of sentence-transformers writes what all consumers read: text-embeddings-inference
and older releases want a boolean for each pooling and `max_seq_length`, newer releases a `pooling_mode`.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from asterisk.core.files import write_json
from asterisk.publishing.checkpoint import Checkpoint

# Our name of a pooling: that of sentence-transformers since 5.4, and the boolean before.
POOLINGS = {
    "mean": ("mean", "pooling_mode_mean_tokens"),
    "cls": ("cls", "pooling_mode_cls_token"),
    "last": ("lasttoken", "pooling_mode_lasttoken"),
}
BOOLEANS = (
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
)


def write_sentence_transformers_files(
    checkpoint: Checkpoint, folder: Path, projection: torch.nn.Linear | None = None
) -> None:
    """Writes modules.json and what it names.

    Args:
        checkpoint: The model.
        folder: The folder that holds the weights.
        projection: A linear layer between pooling and normalising, if the weights' last states are not projected.
    """
    config = checkpoint.config
    name, boolean = POOLINGS[config.pooling]
    dimensions = projection.in_features if projection else config.projection_dim
    kinds = ["Transformer", "Pooling", *(["Dense"] if projection else []), "Normalize"]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": checkpoint.max_length, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    pooling: dict[str, Any] = {
        "word_embedding_dimension": dimensions,
        **{each: each == boolean for each in BOOLEANS},
        "include_prompt": True,
        "pooling_mode": name,
    }
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", pooling)
    if projection is not None:
        _write_dense(projection, folder / "2_Dense")


def _write_dense(projection: torch.nn.Linear, folder: Path) -> None:
    folder.mkdir()
    settings = {
        "in_features": projection.in_features,
        "out_features": projection.out_features,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json(folder / "config.json", settings)
    weights = {"linear.weight": projection.weight.detach(), "linear.bias": projection.bias.detach()}
    save_file({name: each.contiguous() for name, each in weights.items()}, folder / "model.safetensors")
