"""The processes that one `accelerate launch` or `torchrun` starts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


def this_process() -> "PartialState":
    """The rank of this process and the number of processes."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # Without this flag, PartialState treats each CPU process as a run of its own.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
