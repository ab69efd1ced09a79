"""Programs for one process refuse several."""

import sys

import pytest

from asterisk.core.errors import UserError
from asterisk.core.processes import require_one_process


def test_several_processes_are_refused_by_the_programs_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/repository/train_head.py"])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_one_process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"train_head\.py runs in one process, but 2 were started"):
        require_one_process()
