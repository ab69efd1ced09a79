"""Measure which of float32 and bfloat16 is faster on this machine.

bfloat16 instructions are not always faster than float32. A processor without them emulates bfloat16 about forty times
slower.
"""

import copy
import os
import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from asterisk.core.errors import UserError
from asterisk.core.processes import this_process

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# bfloat16 must save this share of the time to be chosen, so that noise does not decide.
MIN_GAIN = 0.1

# The measured batches, and for embedding a layer whose sizes are typical of small sentence encoders. The small batch
# shows whether bfloat16 is emulated; only the large one shows the speed in use.
SMALL, LARGE, TOKENS = 4, 64, 32
WIDTH, HEADS = 256, 4
# bfloat16 that takes this many times float32's time is emulated; the large batch would take seconds.
EMULATED = 3
MAX_ROUNDS, MAX_SECONDS = 7, 0.5

# The faster dtype of training by device type. Accelerate allows only one mixed precision per process.
_of_training: dict[str, torch.dtype] = {}


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


def resolve_mixed_precision(name: str, student: nn.Module, max_length: int, recorded: str | None = None) -> str:
    """Return Accelerate's name of the mixed precision for training; all processes of a run get the same.

    Args:
        name: "no", "bf16", "fp16" or "auto", which measures training steps of the student.
        student: The student.
        max_length: The most tokens of a text that the student takes.
        recorded: The precision of a resumed run, which "auto" keeps.
    """
    if name != "auto":
        return name
    chosen = recorded or ("bf16" if faster_in_training(student, max_length) is torch.bfloat16 else "no")
    # Measurements may differ between processes, so the first one decides.
    return broadcast_object_list([chosen])[0]


@cache
def faster_dtype(device_type: str) -> torch.dtype:
    """Measure on "cpu" or "cuda" which dtype embeds faster, once per process, and print it.

    The measurement is the forward pass of a Transformer layer. bfloat16 is returned if it takes at most 90 % of
    float32's time.
    """
    # The measurement must not change the random state of the run.
    with torch.random.fork_rng(), torch.inference_mode(False), torch.no_grad():
        # Measure in training mode without dropout: evaluation mode takes a fused path that other models lack.
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        inputs = torch.randn(LARGE, TOKENS, WIDTH, device=device_type)
        layers = {dtype: copy.deepcopy(layer).to(device_type, dtype) for dtype in DTYPES.values()}
        return _faster("embedding", device_type, lambda dtype, texts: layers[dtype](inputs[:texts].to(dtype)))


def faster_in_training(student: nn.Module, max_length: int) -> torch.dtype:
    """Measure which dtype trains the student faster under autocast on this process's device, and print it.

    Only the first student of a process is measured.

    Args:
        student: A module whose output for `input_ids` and `attention_mask` has a `pooler_output`. Its weights,
            gradients, device and mode stay as they are.
        max_length: The most tokens of a text that the student takes.
    """
    device = this_process().device
    if device.type in _of_training:
        return _of_training[device.type]
    parameters = list(student.parameters())
    gradients = [parameter.grad for parameter in parameters]
    home, was_training = parameters[0].device, student.training

    def step(dtype: torch.dtype, texts: int) -> None:
        ids = torch.zeros(texts, min(TOKENS, max_length), dtype=torch.int64, device=device)
        with torch.enable_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output = student(input_ids=ids, attention_mask=torch.ones_like(ids))
        output.pooler_output.float().square().mean().backward()
        for parameter in parameters:
            parameter.grad = None

    with torch.random.fork_rng():
        student.to(device).train()
        taken = _of_training[device.type] = _faster("training", device.type, step)
    student.to(home).train(was_training)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return taken


def _faster(work: str, device_type: str, run: Callable[[torch.dtype, int], object]) -> torch.dtype:
    """Time a run, which takes a dtype and a number of texts, in both dtypes, and print the faster one."""
    if device_type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float32
    for texts in (SMALL, LARGE):
        float32, bfloat16 = _seconds([partial(run, dtype, texts) for dtype in DTYPES.values()])
        ratio = bfloat16 / float32
        if ratio > EMULATED:
            break
    taken = torch.bfloat16 if ratio < 1 - MIN_GAIN else torch.float32
    if os.environ.get("RANK", "0") == "0":
        name = str(taken).removeprefix("torch.")
        print(f"Precision of {work}: {name} (bfloat16 takes {ratio:.2f} of float32's time).", flush=True)
    return taken


def _seconds(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Return the shortest time of each run.

    The runs take turns, so that other work on the machine slows all of them. The first round warms up; it counts only
    if it takes so long that there is no other.
    """
    rounds: list[list[float]] = []
    while not rounds or (len(rounds) < MAX_ROUNDS and np.sum(rounds) < MAX_SECONDS):
        times = []
        for run in runs:
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        rounds.append(times)
    return np.min(rounds[1:] or rounds, axis=0).tolist()
