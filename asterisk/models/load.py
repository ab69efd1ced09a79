"""Load any kind of encoder that `--model` names."""

from pathlib import Path

from asterisk.core.errors import UserError
from asterisk.models.checkpoints import load_asterisk_encoder, model_type
from asterisk.models.encoder import TextEncoder
from asterisk.models.precision import resolve_dtype
from asterisk.models.resolve import bytes_on_disk, loading, resolve_model, weight_files
from modeling_asterisk import AsteriskConfig


def load_encoder(
    spec: str,
    *,
    truncate_dim: int | None = None,
    precision: str = "float32",
    pooling: str = "mean",
    prompts: dict[str, str] | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    local_files_only: bool = False,
    space: str | None = None,
    layers: int | None = None,
) -> TextEncoder:
    """Load the encoder that `--model` names.

    Args:
        spec: One of these:
            - the folder of an Asterisk, of a sentence-transformers, transformers or model2vec model, or of a
              `model.onnx` with a `tokenizer.json` beside it or one folder above;
            - the ONNX file itself, or an .xml file of OpenVINO;
            - the Hub id of any of these except ONNX files;
            - `package:NAME`: the folder `model/` of the installed package NAME;
            - `static:SPEC`: the untrained 256-dimensional model2vec model distilled from a sentence-transformers SPEC.
        truncate_dim: The number of leading dimensions to keep before normalising; by default all.
        precision: The precision in torch: "float32", "bfloat16", or "auto" for the faster of the two.
        pooling: The pooling of a transformers encoder whose files name none: "mean", "cls", "max" or "lasttoken".
        prompts: Prompts by MTEB task, task type or prompt type ("query", "document").
        device: A torch device; by default the best one available.
        trust_remote_code: Run the code that comes with a model.
        space: The teacher to whose space an Asterisk's embeddings are mapped.
        layers: Use the exit of an Asterisk after this many layers; by default, the whole model.
        local_files_only: Look for a Hub id only in this machine's cache.

    Raises:
        UserError: The model is missing, cannot be loaded or does not work, or an argument does not apply to it.
    """
    # The libraries take seconds to import, so each branch imports only its own.
    with loading(f"The model {spec}"):
        dtype = resolve_dtype(precision, device)
        kind, _, source = spec.partition(":")
        location = spec if _is_onnx_file(spec) else resolve_model(source or spec if kind == "static" else spec)
        folder = Path(location).expanduser()
        onnx_file = _onnx_file_of(folder)
        found = None if kind == "static" or onnx_file else model_type(folder)
        if found != AsteriskConfig.model_type:
            if space:
                raise UserError(f"{spec} is not an Asterisk, so it stores no map to the space of {space}.")
            if layers is not None:
                raise UserError(f"{spec} is not an Asterisk, so --layers does not apply to it.")
        if kind == "static":
            from asterisk.models.static import static_encoder, untrained_static

            model = static_encoder(untrained_static(location))
        elif onnx_file is not None:
            from asterisk.models.onnx_encoder import onnx_encoder

            model = onnx_encoder(onnx_file)
        elif found == "model2vec":
            from asterisk.models.static import load_static, static_encoder

            model = static_encoder(load_static(location), bytes_on_disk(location))
        elif found == AsteriskConfig.model_type:
            model = load_asterisk_encoder(folder, dtype, device, space, layers)
        else:
            from asterisk.models.sentence_transformer import load_sentence_transformer, sentence_transformer_encoder

            loaded = load_sentence_transformer(
                location,
                dtype=dtype,
                pooling=pooling,
                device=device,
                trust_remote_code=trust_remote_code,
                local_files_only=local_files_only,
            )
            model = sentence_transformer_encoder(loaded, location)
        return TextEncoder(spec, model, truncate_dim, prompts)


def is_asterisk(spec: str) -> bool:
    """Return whether a spec of [`load_encoder`] names an Asterisk, other than as an ONNX file."""
    if spec.startswith("static:") or _is_onnx_file(spec):
        return False
    return model_type(Path(resolve_model(spec))) == AsteriskConfig.model_type


def _is_onnx_file(spec: str) -> bool:
    return spec.endswith((".onnx", ".xml")) and Path(spec).expanduser().is_file()


def _onnx_file_of(path: Path) -> Path | None:
    """Return `path` if it is a file, else the `model.onnx` of a folder without other weights."""
    if path.is_file():
        return path
    file = path / "model.onnx"
    return file if file.is_file() and not weight_files(path) else None
