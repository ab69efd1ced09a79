"""A folder at a path or URL tells what is missing or cannot be reached."""

from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.store import EmbeddingStore
from tests.support.stores import (
    QuickTeacher,
    quick_corpus,
)


def test_folder_that_cannot_be_reached_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="nowhere://x cannot be reached"):
        EmbeddingStore("nowhere://x")
    with pytest.raises(UserError, match=r"There is no memory://nothing/manifest\.json"):
        EmbeddingStore("memory://nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made: Not a directory"):
        embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "file" / "store")


def test_file_that_appears_while_it_is_read_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path, **_: object) -> str:
        path.touch()
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert RemoteFolder(tmp_path).read_json("shard-00000.json") is None
