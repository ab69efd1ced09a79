"""Load an Asterisk as an encoder."""

from pathlib import Path

import numpy as np
import torch

from asterisk.core.checksums import file_hash
from asterisk.models.checkpoints import load_asterisk
from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import TOKENIZER_FILES, bytes_on_disk, weights_hash
from modeling_asterisk import AsteriskModel

# Configuration fields that change the vectors but not the weights.
SETTINGS = ("pooling", "position_encoding", "is_causal", "hidden_act", "num_attention_heads")


def load_asterisk_encoder(
    folder: Path, dtype: torch.dtype, device: str | None, space: str | None = None
) -> LoadedModel:
    """Load an Asterisk for a [`asterisk.models.encoder.TextEncoder`].

    Args:
        folder: A folder with model.safetensors and the tokenizer.
        dtype: The type of the weights.
        device: A torch device; by default the best one available.
        space: The teacher to whose space the vectors are mapped; by default they are the model's embeddings.

    Raises:
        UserError: The model cannot be loaded, or stores no map to the space.
    """
    model, tokenizer = load_asterisk(folder, folder, AsteriskModel, dtype=dtype)
    model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))  # type: ignore[arg-type]

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        texts = [(prompt or "") + text for text in texts]
        return model.encode(texts, batch_size=batch_size, space=space, normalize_embeddings=False, tokenizer=tokenizer)

    return LoadedModel(
        embed,
        settings={
            **{name: getattr(model.config, name) for name in SETTINGS},
            **({"space": space} if space else {}),
            **{name: file_hash(folder / name) for name in TOKENIZER_FILES if (folder / name).exists()},
        },
        weights=weights_hash(model),
        num_parameters=model.num_parameters(),
        num_bytes=bytes_on_disk(str(folder)),
        max_length=model.config.max_position_embeddings,
    )
