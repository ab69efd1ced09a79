"""models.asterisk"""

from pathlib import Path

import numpy as np
import torch

from asterisk.core.checksums import file_hash
from asterisk.models.checkpoints import load_asterisk
from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import TOKENIZER_FILES, bytes_on_disk, weights_hash
from modeling_asterisk import AsteriskModel


def load_asterisk_encoder(folder: Path, dtype: torch.dtype, device: str | None) -> LoadedModel:
    model, tokenizer = load_asterisk(folder, folder, AsteriskModel, dtype=dtype)
    model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))  # type: ignore[arg-type]

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        texts = [(prompt or "") + text for text in texts]
        return model.encode(texts, batch_size=batch_size, normalize=False, tokenizer=tokenizer)

    config = model.config
    computed_with = ("pooling", "position_encoding", "is_causal", "hidden_act", "num_attention_heads")
    return LoadedModel(
        embed,
        settings={
            **{name: getattr(config, name) for name in computed_with},
            **{name: file_hash(folder / name) for name in TOKENIZER_FILES if (folder / name).exists()},
        },
        weights=weights_hash(model),
        num_parameters=model.num_parameters(),
        num_bytes=bytes_on_disk(str(folder)),
        max_length=config.max_position_embeddings,
        device=model.device.type,
        makes_passes=True,
    )
