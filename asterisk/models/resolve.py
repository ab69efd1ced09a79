"""Resolve a model's name to a folder or Hub id, and identify its weights."""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from asterisk.core.errors import UserError, one_line
from asterisk.core.files import read_json

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def resolve_model(name: str) -> str:
    """Return the folder or Hub id of a model; raise a [`UserError`] if a folder or package does not exist."""
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"The model's package {package} is not installed; pip install '.[demo]' installs the demo's teacher."
            )
        return str(Path(spec.submodule_search_locations[0]) / "model")
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise UserError(f"There is no model folder {name}; give a folder, a Hub id (owner/name) or package:NAME.")
        return str(folder)
    return name


@contextmanager
def loading(subject: str) -> Iterator[None]:
    """Convert any exception into a [`UserError`] "{subject} cannot be loaded", since libraries raise many kinds."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{subject} cannot be loaded: {one_line(error)}") from error


def model_name(spec: str) -> str:
    """Return a name of the form owner/name; for a path, its last two parts."""
    for kind in ("package", "static"):
        if spec.startswith(f"{kind}:"):
            return f"{kind}/{model_name(spec.removeprefix(kind + ':')).rpartition('/')[2]}"
    if not Path(spec).expanduser().exists():
        return spec if spec.count("/") == 1 else f"local/{spec.strip('/').replace('/', '-')}"
    parts = [part for part in Path(spec).expanduser().resolve().with_suffix("").parts if part != "/"]
    return "/".join(["local", *parts][-2:])


def weights_hash(model: torch.nn.Module) -> str:
    """Compute the SHA-256 of the names, shapes and values of a model's weights, independent of the file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder; weights of other formats are never loaded."""
    return sorted(folder.glob("*.safetensors"))


def bytes_on_disk(location: str) -> int:
    """Return the size of a model's weight files in bytes; 0 if they are not on this machine."""
    folder = Path(location)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(location, local_files_only=True))
        except OSError:
            return 0
    parts: Sequence[str] = [""]
    if (folder / "modules.json").exists():
        parts = sorted({"", *(module["path"].strip("./") for module in read_json(folder / "modules.json"))})
    return sum(file.stat().st_size for part in parts for file in weight_files(folder / part))
