"""The processes that `accelerate launch` or `torchrun` starts."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asterisk.core.errors import UserError

if TYPE_CHECKING:
    from accelerate import PartialState


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
