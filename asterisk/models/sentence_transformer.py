"""models.sentence_transformer"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterisk.core.errors import UserError
from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import bytes_on_disk, weights_hash


def load_sentence_transformer(
    location: str,
    dtype: torch.dtype,
    pooling: str,
    device: str | None,
    trust_remote_code: bool,
    local_files_only: bool,
) -> LoadedModel:
    from sentence_transformers import SentenceTransformer

    folder = Path(location)
    if folder.is_dir() and not any((folder / name).exists() for name in ("config.json", "modules.json")):
        raise UserError(f"The folder {location} has neither config.json, modules.json nor model.onnx; give a model's.")
    load: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    if folder.is_dir() and not (folder / "modules.json").exists():
        from sentence_transformers.models import Pooling, Transformer

        options = {"dtype": dtype, "use_safetensors": True, **load}
        transformer = Transformer(location, model_kwargs=options, config_kwargs=load)
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
        model = SentenceTransformer(modules=modules, device=device)
    else:
        options = {"dtype": dtype, "use_safetensors": True}
        model = SentenceTransformer(location, model_kwargs=options, device=device, **load)
    model.eval()

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return model.encode(texts, batch_size=len(texts), prompt=prompt, show_progress_bar=False)

    weights = list(model.parameters())
    return LoadedModel(
        embed,
        settings={"modules": str(model), "prompt": model.default_prompt_name, "tokenizer": _tokenizer_hash(model)},
        weights=weights_hash(model),
        num_parameters=sum(weight.numel() for weight in weights),
        num_bytes=bytes_on_disk(location) or sum(weight.numel() * weight.element_size() for weight in weights),
        max_length=model.max_seq_length,
        device=model.device.type,
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt},
    )


def _tokenizer_hash(model: Any) -> str:
    tokenizer = getattr(model, "tokenizer", None)
    backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return hashlib.sha256(backend.to_str().encode()).hexdigest() if hasattr(backend, "to_str") else str(backend)
