"""The processes that `accelerate launch` or `torchrun` starts."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asterisk.core.errors import LostProcess, UserError

if TYPE_CHECKING:
    from accelerate import PartialState

# Words of gloo, NCCL and TCPStore in the errors of a lost connection; their exception classes are not specific.
_SIGNS = "closed by peer|reset by peer|broken pipe|timed out|unreachable|remote process|nccl"
_LOST = re.compile(rf"[\w ]*(?:{_SIGNS})[\w ]*", re.IGNORECASE)
_ADDRESS = re.compile(r"\[([\d.a-fA-F:]+)\]:\d+")


def this_process() -> "PartialState":
    """Return the rank of this process and the number of processes."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # Without this flag, PartialState treats each CPU process as a separate run.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def require_one_process() -> None:
    """Raise a [`UserError`] if a launcher started several processes, since each would write the same results."""
    number = os.environ.get("WORLD_SIZE", "1")
    if number != "1":
        raise UserError(
            f"{Path(sys.argv[0]).name} runs in one process, but {number} were started; "
            "run it without torchrun or accelerate launch."
        )


@contextmanager
def report_lost_process() -> Iterator[None]:
    """Convert the error of a lost connection to another process into a [`LostProcess`] that names its address."""
    try:
        yield
    except RuntimeError as error:
        state, reason, address = this_process(), _LOST.search(str(error)), _ADDRESS.search(str(error))
        if state.num_processes == 1 or not reason:
            raise
        where = f" at {address[1]}" if address else ""
        raise LostProcess(
            f"Process {state.process_index} of {state.num_processes} has lost a process{where} ({reason[0].strip()}); "
            "continue with --resume on the nodes that are left."
        ) from error
