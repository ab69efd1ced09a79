"""A run that continues on another number of processes keeps its steps."""

from types import SimpleNamespace

import pytest

from asterisk.core.errors import UserError
from asterisk.distillation import run
from asterisk.distillation.arguments import DistillationArguments


@pytest.mark.parametrize(("now", "batches"), [(4, 1), (2, 2), (1, 4)])
def test_fewer_processes_take_more_batches(
    now: int, batches: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "this_process", lambda: SimpleNamespace(num_processes=now, print=print))
    kept = run.keep_batch(DistillationArguments(output_dir="x"), processes=4)
    assert kept.gradient_accumulation_steps == batches
    said = "" if now == 4 else f"started by 4 processes; each of the {now} now takes {batches} batches per step"
    assert said in capsys.readouterr().out


def test_processes_that_cannot_share_the_batches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "this_process", lambda: SimpleNamespace(num_processes=3, print=print))
    with pytest.raises(UserError, match=r"started by 4 processes, and 3 cannot share .*: 1, 2, 4\."):
        run.keep_batch(DistillationArguments(output_dir="x"), processes=4)
