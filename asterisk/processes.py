"""Which of the processes of one run this is."""

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def this_process() -> PartialState:
    """The state of this process among those that `accelerate launch` or `torchrun` started together."""
    # Left to itself PartialState takes processes on CPUs for runs of their own.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
