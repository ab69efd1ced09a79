"""The files that tell sentence-transformers, text-embeddings-inference and other servers how to pool token vectors.

No release of sentence-transformers writes files that all of them read: text-embeddings-inference and older releases
need one boolean per pooling and `max_seq_length`, newer releases need `pooling_mode`. These files hold both.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from asterisk.core.files import write_json
from asterisk.publishing.checkpoint import Checkpoint

# Pooling of the configuration -> `pooling_mode` since sentence-transformers 5.4, and the boolean of older releases.
POOLINGS = {"mean": ("mean", "mean_tokens"), "cls": ("cls", "cls_token"), "last": ("lasttoken", "lasttoken")}
KINDS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def write_sentence_transformers_files(
    checkpoint: Checkpoint, folder: Path, projection: torch.nn.Linear | None = None
) -> None:
    """Write modules.json and the files that it names into the folder of the weights.

    A `projection` that the weights lack becomes a Dense module after pooling.
    """
    mode, old_kind = POOLINGS[checkpoint.config.pooling]
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
    pooling: dict[str, Any] = {
        "word_embedding_dimension": projection.in_features if projection else checkpoint.config.embedding_size,
        **{f"pooling_mode_{kind}": kind == old_kind for kind in KINDS},
        "include_prompt": True,
        "pooling_mode": mode,
    }
    files: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": checkpoint.max_length, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": pooling,
    }
    if projection:
        files["2_Dense/config.json"] = {
            "in_features": projection.in_features,
            "out_features": projection.out_features,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_json(folder / name, content)
    if projection:
        weights = {f"linear.{name}": each.contiguous() for name, each in projection.state_dict().items()}
        save_file(weights, folder / "2_Dense" / "model.safetensors")
