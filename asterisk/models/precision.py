"""Measure which of float32 and bfloat16 is faster on this machine.

bfloat16 instructions are not always faster than float32. A processor without them emulates bfloat16 about forty times
slower.
"""

import os
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn

from asterisk.core.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# bfloat16 must save this share of the time to be chosen, so that noise does not decide.
MIN_GAIN = 0.1

# The sizes of the measured layer are typical of small sentence encoders.
WIDTH, HEADS, TEXTS, TOKENS = 256, 4, 8, 32
MAX_RUNS, MAX_SECONDS = 5, 0.2


def resolve_dtype(name: str, device: str | None = None) -> torch.dtype:
    """Return the torch dtype of "float32", "bfloat16" or "auto" (the faster of the two for embedding on the device).

    The default device is the best one available. Other names raise a [`UserError`].
    """
    if name == "auto":
        return faster_dtype(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")).type)
    if name not in DTYPES:
        raise UserError(f"The precision must be auto, float32 or bfloat16, not {name!r}.")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name that [`resolve_dtype`] takes."""
    return str(dtype).removeprefix("torch.")


def resolve_mixed_precision(name: str, recorded: str | None = None) -> str:
    """Return Accelerate's name of the mixed precision for training; all processes of a run get the same.

    Args:
        name: "no", "bf16", "fp16" or "auto".
        recorded: The precision of a resumed run, which "auto" keeps; without it, "auto" is the faster of "no" and
            "bf16".
    """
    if name != "auto":
        return name
    device_type = PartialState().device.type
    chosen = recorded or ("bf16" if faster_dtype(device_type, training=True) is torch.bfloat16 else "no")
    # Measurements may differ between processes, so the first one decides.
    return broadcast_object_list([chosen])[0]


@cache
def faster_dtype(device_type: str, training: bool = False) -> torch.dtype:
    """Measure on "cpu" or "cuda" which dtype is faster, once per process, and print it.

    With `training`, a training step under autocast is measured, else a forward pass with converted weights. bfloat16
    is returned if it takes at most 90 % of float32's time.
    """
    if device_type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32
    # The measurement must not change the random state of the run.
    with torch.random.fork_rng(), torch.inference_mode(False):
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        layer.to(device_type)
        inputs = torch.randn(TEXTS, TOKENS, WIDTH, device=device_type)
        run = _training_step if training else _forward_pass
        seconds = {dtype: _seconds(partial(run, layer, inputs, dtype)) for dtype in DTYPES.values()}
    ratio = seconds[torch.bfloat16] / seconds[torch.float32]
    taken = torch.bfloat16 if ratio < 1 - MIN_GAIN else torch.float32
    if os.environ.get("RANK", "0") == "0":
        work = "training" if training else "embedding"
        name = str(taken).removeprefix("torch.")
        print(f"Precision of {work}: {name} (bfloat16 takes {ratio:.2f} of float32's time).", flush=True)
    return taken


def _training_step(layer: nn.Module, inputs: torch.Tensor, dtype: torch.dtype) -> None:
    with torch.enable_grad(), torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32):
        outputs = layer(inputs)
    outputs.float().square().mean().backward()


def _forward_pass(layer: nn.Module, inputs: torch.Tensor, dtype: torch.dtype) -> None:
    # Measure in training mode without dropout: evaluation mode takes a fused path that other models lack. After the
    # warm-up, the weights need no conversion.
    with torch.no_grad():
        layer.to(dtype=dtype)(inputs.to(dtype))


def _seconds(run: Callable[[], object]) -> float:
    """Return the shortest time of a few runs after a warm-up; slow runs are repeated less often."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < MAX_RUNS and sum(times) < MAX_SECONDS):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
