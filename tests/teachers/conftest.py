"""Fixtures of the teachers' tests: a small corpus with one long text, and a cache folder."""

from pathlib import Path

import pytest

from asterisk.data.corpus import Corpus, build_corpus


@pytest.fixture
def corpus(tmp_path: Path, sentences: list[str]) -> Corpus:
    (tmp_path / "a.txt").write_text("\n".join([*sentences[:299], "word " * 400]))
    return build_corpus([str(tmp_path / "a.txt")], tmp_path / "store" / "corpus", rows_per_shard=128)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "asterisk"
