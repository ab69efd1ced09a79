"""Long work shows in a log too, and short work leaves it alone."""

import pytest

from asterisk.core import progress


def test_log_gets_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with progress.progress_bar("Embedding", "sentences", total=30) as bar:
        for _ in range(3):
            bar.update(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("Embedding: 30 of 30 sentences, ")
    assert not any("\r" in line or "|" in line for line in lines)


def test_log_gets_nothing_of_what_is_over_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("Embedding", "sentences") as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""
