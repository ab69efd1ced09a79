"""models.precision"""

import torch

from asterisk.core.errors import UserError


def resolve_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a name; "auto" is bfloat16 where the processor computes in it, else float32."""
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16() else torch.float32
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"The precision must be auto, float32 or bfloat16, not {dtype!r}.")
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def computes_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware; elsewhere they are slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
