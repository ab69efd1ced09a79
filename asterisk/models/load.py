"""models.load"""

from collections.abc import Callable
from pathlib import Path

from asterisk.core.errors import UserError
from asterisk.models.asterisk import load_asterisk_encoder
from asterisk.models.checkpoints import model_type
from asterisk.models.encoder import LoadedModel, TextEncoder
from asterisk.models.onnx_encoder import is_onnx_file, load_onnx, onnx_file_of
from asterisk.models.precision import resolve_dtype
from asterisk.models.resolve import resolve_model
from asterisk.models.sentence_transformer import load_sentence_transformer
from asterisk.models.static import load_model2vec, load_static
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
) -> TextEncoder:
    """The encoder that a `--model` names.

    Args:
        spec: A folder: an Asterisk, a sentence-transformers model, a transformers encoder, a model2vec model, or a
            `model.onnx` with a `tokenizer.json` beside or above it; such an ONNX file; a Hub id of any but the ONNX
            kind; `package:NAME` for what the installed package NAME carries in `model/`; or `static:SPEC`, the
            256-dimensional model2vec model distilled, untrained, from any sentence-transformers SPEC.
        truncate_dim: Keep only the first so many dimensions, and renormalise.
        precision: What torch computes in: "float32", "bfloat16", or "auto": bfloat16 where the processor has it.
        pooling: Of a transformers encoder that does not say itself: "mean", "cls", "max" or "lasttoken".
        prompts: Texts to put before texts, by MTEB task, task type or prompt type ("query", "document").
        device: A torch device; by default the best there is.
        trust_remote_code: Run the code that comes with a model.
        local_files_only: Look for a Hub id only in the cache on this machine.

    Raises:
        UserError: There is no such model, it cannot be loaded or does not work, or an argument does not fit it.
    """
    dtype = resolve_dtype(precision)
    kind, _, value = spec.partition(":")
    load: Callable[[], LoadedModel]
    if kind == "static" and value:
        location = resolve_model(value)
        load = lambda: load_static(location)  # noqa: E731
    else:
        location = spec if is_onnx_file(spec) else resolve_model(spec)
        folder = Path(location)
        if (onnx := onnx_file_of(folder)) is not None:
            load = lambda: load_onnx(onnx)  # noqa: E731
        elif model_type(folder) == "model2vec":
            load = lambda: load_model2vec(folder)  # noqa: E731
        elif model_type(folder) == AsteriskConfig.model_type:
            load = lambda: load_asterisk_encoder(folder, dtype, device)  # noqa: E731
        else:
            load = lambda: load_sentence_transformer(  # noqa: E731
                location, dtype, pooling, device, trust_remote_code, local_files_only
            )
    try:
        return TextEncoder(spec, load(), truncate_dim, prompts)
    except UserError:
        raise
    except Exception as error:  # whatever loading a stranger's model raises, the user wants one sentence
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def is_asterisk(spec: str) -> bool:
    """Whether a spec of [`load_encoder`] names an Asterisk, and not an ONNX file of one."""
    if spec.startswith("static:") or is_onnx_file(spec):
        return False
    return model_type(Path(resolve_model(spec))) == AsteriskConfig.model_type
