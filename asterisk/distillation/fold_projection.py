"""Fold the final projection of a trained Asterisk into its other weights."""

import copy
from typing import Any

import numpy as np
import torch

from asterisk.core.errors import UserError
from asterisk.core.vectors import orthogonal_map, principal_directions
from modeling_asterisk import AsteriskModel


@torch.no_grad()
def fold_projection(model: AsteriskModel, embeddings: np.ndarray) -> AsteriskModel:
    """Return a model without projection whose embeddings approximate the given model's, up to a rotation.

    The embedding is a linear map of the normalised token vectors. The rotation nearest to this map is multiplied into
    every matrix that reads or writes the token vectors (SliceGPT, Ashkboos et al. 2024, arXiv 2401.15024); the lengths
    of the map's rows become the gains of the final norm. The rest of the map is lost, so the result needs further
    training. The embedding's dimensions become its principal directions, which truncation needs.

    Args:
        model: A model with a square projection and without exits.
        embeddings: The model's embeddings of typical texts, (texts, dimensions), float32.

    Raises:
        UserError: The projection is not square, or the model has exits.
    """
    width = model.config.hidden_size
    if model.config.projection_dim != width or model.config.exit_layers:
        raise UserError(
            f"Only a projection to {width} dimensions, the model's width, can be folded, and only without exits; this "
            f"model has {model.config.projection_dim} dimensions and the exits {model.config.exit_layers or []}."
        )
    weights = {name: weight.double() for name, weight in model.state_dict().items()}
    # A LayerNorm removes the component along the diagonal, so the rotation must keep the diagonal in place.
    diagonal = np.full((width, 1), width**-0.5)
    centre = np.eye(width) - diagonal @ diagonal.T
    basis = np.linalg.qr(np.concatenate([diagonal, np.eye(width)[:, 1:]], axis=1))[0][:, 1:]

    vectors = embeddings.astype(np.float64)
    directions = principal_directions(vectors.T @ vectors, width).T
    linear = directions @ (weights["projection.weight"] * weights["norm.weight"]).numpy()
    inner = orthogonal_map(basis.T @ linear.T @ basis, np.eye(width - 1)).astype(np.float64)
    rotation = diagonal @ diagonal.T + basis @ inner @ basis.T
    gain = (linear @ centre * rotation).sum(axis=1)
    bias = directions @ (weights["projection.weight"] @ weights["norm.bias"] + weights["projection.bias"]).numpy()

    into, out = torch.from_numpy(rotation @ centre), torch.from_numpy(centre @ rotation.T)
    folded: dict[str, Any] = {
        "norm.weight": torch.from_numpy(gain),
        "norm.bias": torch.from_numpy(bias),
    }
    for name in ("embeddings.embed_tokens.weight", "embeddings.embed_positions.weight"):
        if name in weights:
            folded[name] = weights[name] @ into.T
    for index in range(model.config.num_hidden_layers):
        layer = f"layers.{index}."
        for norm, reader in (("attention_norm", "self_attn.qkv_proj"), ("mlp_norm", "mlp.up_proj")):
            matrix, gains, offsets = (
                weights[layer + name] for name in (f"{reader}.weight", f"{norm}.weight", f"{norm}.bias")
            )
            folded[layer + f"{reader}.weight"] = (matrix * gains) @ out
            folded[layer + f"{reader}.bias"] = weights[layer + f"{reader}.bias"] + matrix @ offsets
            folded[layer + f"{norm}.weight"], folded[layer + f"{norm}.bias"] = torch.ones(width), torch.zeros(width)
        for writer in ("self_attn.o_proj", "mlp.down_proj"):
            for kind in ("weight", "bias"):
                folded[layer + f"{writer}.{kind}"] = into @ weights[layer + f"{writer}.{kind}"]
    for index in range(len(model.config.teacher_spaces or ())):
        folded[f"teacher_map_{index}"] = torch.from_numpy(directions) @ weights[f"teacher_map_{index}"]
    config = copy.deepcopy(model.config)
    config.projection_dim = None
    result = AsteriskModel(config)
    result.load_state_dict({name: weight.float() for name, weight in folded.items()})
    result.tokenizer = model.tokenizer
    return result
