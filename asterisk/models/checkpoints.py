"""Load and save an Asterisk with its tokenizer, with this package's classes, never with code from the folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, read_json
from asterisk.models.encoder import LoadedModel
from asterisk.models.resolve import TOKENIZER_FILES, bytes_on_disk, loading, weights_hash
from asterisk.models.tokenizers import save_tokenizer
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel
from modeling_asterisk.modeling_asterisk import check_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# The prefix of the names of a classification head's weights.
HEAD = "classifier."
# Configuration fields that change the vectors but not the weights.
SETTINGS = ("pooling", "position_encoding", "is_causal", "hidden_act", "num_attention_heads")

Model = TypeVar("Model", AsteriskModel, AsteriskForSequenceClassification)


def load_asterisk(
    spec: str | Path,
    location: str | Path,
    kind: type[Model],
    new_head: bool = False,
    layers: int | None = None,
    **options: Any,
) -> tuple[Model, PreTrainedTokenizerFast]:
    """Load a model in evaluation mode, and its tokenizer.

    Args:
        spec: The model as the user names it.
        location: Its folder or Hub id, from [`asterisk.models.resolve.resolve_model`].
        kind: `AsteriskModel` or `AsteriskForSequenceClassification`.
        new_head: Whether the caller replaces the classification head; if so, it may be missing or of another shape.
        layers: Return the exit after this many layers as a separate model; by default, the whole model.
        options: Further arguments of `from_pretrained`.

    Returns:
        The model and its tokenizer.

    Raises:
        UserError: model.safetensors or the tokenizer is missing or damaged; the two do not match each other or
            config.json; a weight is not finite; or there is no such exit.
    """
    with loading(f"The model {spec}"):
        _check_index(Path(location) / "model.safetensors.index.json")
        # `_check_shapes` reports wrong shapes, since the error of transformers does not name them.
        options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        model, info = kind.from_pretrained(location, **options)
        check_weights(model, info)
        _check_shapes(info, new_head)
        backbone: AsteriskModel = model.base_model
        if backbone.tokenizer is None:
            raise ValueError(backbone.tokenizer_problem)
        if layers is not None:
            model = model.truncated(layers)
    return model, backbone.tokenizer


def load_asterisk_encoder(
    folder: Path, dtype: torch.dtype, device: str | None, space: str | None = None, layers: int | None = None
) -> LoadedModel:
    """Load an Asterisk for a [`asterisk.models.encoder.TextEncoder`].

    Args:
        folder: The model's folder.
        dtype: The dtype of the weights.
        device: A torch device; by default the best one available.
        space: The teacher to whose space the embeddings are mapped; by default, they are not mapped.
        layers: Load the exit after this many layers; by default, the whole model.

    Raises:
        UserError: See [`load_asterisk`].
    """
    model, _ = load_asterisk(folder, folder, AsteriskModel, layers=layers, dtype=dtype)
    model.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))  # type: ignore[arg-type]

    def embed(texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        return model.encode(texts, batch_size, prompt=prompt, space=space, normalize_embeddings=False)

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


def model_type(folder: Path) -> str | None:
    """Return the model type in config.json; None if the file or the field is missing."""
    config = read_json(folder / "config.json", required=False)
    if not isinstance(config, dict | None):
        raise UserError(f"{folder / 'config.json'} must hold a JSON object, not {type(config).__name__}.")
    return (config or {}).get("model_type")


def _check_index(file: Path) -> None:
    """Refuse an index of weight files that points outside its folder."""
    if file.is_file():
        for name in set(read_json(file)["weight_map"].values()):
            if Path(name).name != name:
                raise ValueError(f"{file.name} names {name!r}, which is not in its folder.")


def _check_shapes(info: dict[str, Any], new_head: bool) -> None:
    """Refuse weights whose shapes differ from config.json, and a missing head."""
    for name, stored, wanted in sorted(info["mismatched_keys"]):
        if not (new_head and name.startswith(HEAD)):
            raise ValueError(
                f"{name} has shape {tuple(stored)} in model.safetensors, but {tuple(wanted)} in config.json."
            )
    if not new_head and (missing := [name for name in info["missing_keys"] if name.startswith(HEAD)]):
        raise ValueError(f"the classifier's weights {', '.join(sorted(missing))} are missing.")


class PretrainedStudent(Protocol):
    """A model that saves its weights and configuration: an Asterisk or another encoder."""

    def save_pretrained(self, folder: Path, /) -> None:
        """Write the files."""


def save_student(model: PretrainedStudent, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a model and its tokenizer, atomically; an Asterisk is saved with its code."""
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
        # safetensors writes files that only their owner can read, while tokenizer.json follows the umask.
        mode = (temporary / "tokenizer.json").stat().st_mode
        for weights in temporary.rglob("*.safetensors"):
            weights.chmod(mode)


def load_student(folder: Path) -> "AsteriskModel | SentenceTransformer":
    """Load a student that [`save_student`] saved; both kinds have `encode(texts)` and `parameters()`."""
    if model_type(folder) == AsteriskConfig.model_type:
        return load_asterisk(folder, folder, AsteriskModel)[0]
    from asterisk.models.sentence_transformer import load_sentence_transformer

    return load_sentence_transformer(str(folder))
