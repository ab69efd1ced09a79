"""Load sentence-transformers models, and transformers encoders with pooling."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from asterisk.core.errors import UserError
from asterisk.models.encoder import LoadedModel
from asterisk.models.passes import CPU_PASS_TOKENS, passes_by_length
from asterisk.models.resolve import bytes_on_disk, weights_hash

# English has four to five characters per token.
CHARACTERS_PER_TOKEN = 4
MAX_CHARACTERS_PER_TOKEN = 5


def load_sentence_transformer(
    location: str,
    *,
    dtype: torch.dtype = torch.float32,
    pooling: str = "mean",
    device: str | None = None,
    trust_remote_code: bool = False,
    local_files_only: bool = False,
) -> SentenceTransformer:
    """Load a sentence-transformers model in evaluation mode, from safetensors only.

    Args:
        location: A folder or a Hub id. A folder without modules.json is a transformers encoder; its token vectors
            are pooled, but not normalised.
        dtype: The type of the weights.
        pooling: The pooling of a transformers encoder.
        device: A torch device; by default the best one available.
        trust_remote_code: Run the code that comes with the model.
        local_files_only: Look for a Hub id only in this machine's cache.

    Raises:
        UserError: The folder holds no model.
        Exception: The libraries raise many kinds for a model that they cannot load; callers use
            [`asterisk.models.resolve.loading`].
    """
    folder = Path(location)
    load: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    options = {"dtype": dtype, "use_safetensors": True}
    if not folder.is_dir() or (folder / "modules.json").exists():
        model = SentenceTransformer(location, model_kwargs=options, device=device, **load)
    elif (folder / "config.json").exists():
        transformer = Transformer(location, model_kwargs={**options, **load}, config_kwargs=load)
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
        model = SentenceTransformer(modules=modules, device=device)
    else:
        raise UserError(
            f"The folder {location} has neither config.json, modules.json nor model.onnx; give a model folder."
        )
    return model.eval()


def sentence_transformer_encoder(model: SentenceTransformer, location: str) -> LoadedModel:
    """Wrap a model loaded from `location` for a [`asterisk.models.encoder.TextEncoder`]."""

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        # Estimate tokens from characters. Text beyond the maximum length is truncated, so it costs nothing.
        longest = MAX_CHARACTERS_PER_TOKEN * (model.max_seq_length or 1_000_000)
        lengths = [min(len(text), longest) for text in texts]
        on_cpu = model.device.type == "cpu"
        budget = CPU_PASS_TOKENS * CHARACTERS_PER_TOKEN if on_cpu else batch_size * max([1, *lengths])
        vectors: np.ndarray | None = None
        for rows in passes_by_length(lengths, budget, batch_size):
            batch = [texts[row] for row in rows]
            part = model.encode(batch, batch_size=len(batch), prompt=prompt, show_progress_bar=False)
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            vectors[rows] = part
        return np.empty((0, 0), dtype=np.float32) if vectors is None else vectors

    weights = list(model.parameters())
    return LoadedModel(
        embed,
        settings={"modules": str(model), "prompt": model.default_prompt_name, "tokenizer": _tokenizer_hash(model)},
        weights=weights_hash(model),
        num_parameters=sum(weight.numel() for weight in weights),
        num_bytes=bytes_on_disk(location) or sum(weight.numel() * weight.element_size() for weight in weights),
        max_length=model.max_seq_length,
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt},
    )


def _tokenizer_hash(model: SentenceTransformer) -> str:
    backend: Any = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    return hashlib.sha256(backend.to_str().encode()).hexdigest() if hasattr(backend, "to_str") else str(backend)
