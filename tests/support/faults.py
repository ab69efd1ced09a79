"""Shared code of the tests of faults and damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError
from tests.support.stores import contents

Run = Callable[..., tuple[int, str]]


def model_files(folder: Path) -> dict[str, bytes]:
    """The files of a run's model, without its card, which records durations."""
    found = contents(folder / "model")
    found.pop("README.md", None)
    return found


def refusal(call: Callable[[], Any]) -> str:
    """The message with which a call refuses; "" if it does not."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""
