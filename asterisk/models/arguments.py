"""The options of programs that load an encoder; this module imports nothing heavy."""

from dataclasses import dataclass
from typing import Any

from asterisk.core.arguments import option

PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass
class EncoderArguments:
    """Model: the encoder, and how it computes."""

    model: str = option("", "a folder, ONNX file, Hub id, package:NAME or static:SPEC", required=True)
    truncate_dim: int | None = option(None, "keep only this many leading dimensions of the model")
    layers: int | None = option(None, "use an Asterisk's exit after this many layers (default: the whole model)")
    precision: str = option("float32", "float32, bfloat16 or auto, for models that torch runs", choices=PRECISIONS)
    pooling: str = option("mean", "mean, cls, max or lasttoken, for encoders whose files name no pooling")
    device: str = option("", "a torch device; empty means the best available")
    trust_remote_code: bool = option(False, "run the code that comes with a model")

    def loading_options(self) -> dict[str, Any]:
        """Return the arguments of [`asterisk.models.load.load_encoder`] that apply to any encoder."""
        return {
            "precision": self.precision,
            "pooling": self.pooling,
            "device": self.device or None,
            "trust_remote_code": self.trust_remote_code,
        }
