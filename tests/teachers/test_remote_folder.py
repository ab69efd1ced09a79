"""A folder at a path or URL tells what is missing or cannot be reached."""

import uuid
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
    with pytest.raises(UserError, match="cannot be created: Not a directory"):
        embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "file" / "store")


def test_file_that_appears_while_it_is_read_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path, **_: object) -> str:
        path.touch()
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert RemoteFolder(tmp_path).read_json("shard-00000.json") is None


def test_names_are_those_of_the_folder_and_none_if_it_does_not_exist(tmp_path: Path, cache: Path) -> None:
    url = f"memory://bucket/{uuid.uuid4().hex}"
    for location in (tmp_path / "folder", url):
        folder = RemoteFolder(location)
        assert folder.names() == set()
        if folder.system is None:
            folder.local.mkdir()
        for name in ("a.json", "b.json"):
            folder.write_json(name, {})
        assert folder.names() == {"a.json", "b.json"}
        folder.remove(["a.json", "missing.json"])
        assert folder.names() == {"b.json"}


def test_failure_to_write_to_a_url_is_one_sentence(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    folder = RemoteFolder("memory://bucket/store")
    assert folder.system is not None

    def no_bucket(*_: object, **__: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(type(folder.system), "pipe_file", no_bucket)
    with pytest.raises(
        UserError, match=r"memory://bucket/store/manifest\.json cannot be reached: The specified bucket does not"
    ):
        folder.write_json("manifest.json", {})


def test_copies_of_urls_stay_below_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    urls = [f"memory://bucket/{uuid.uuid4().hex}" for _ in range(2)]
    for url in urls:
        embed_corpus(corpus, QuickTeacher(), url)
    size = sum(path.stat().st_size for path in cache.rglob("*.arrow")) // 2
    monkeypatch.setenv("ASTERISK_CACHE_GB", str(1.7 * size / 1e9))
    EmbeddingStore(urls[1]).check_shards()
    assert len(list(RemoteFolder(urls[1]).local.glob("*.arrow"))) == 20
    assert 0 < len(list(RemoteFolder(urls[0]).local.glob("*.arrow"))) < 20
    monkeypatch.setenv("ASTERISK_CACHE_GB", str(0.5 * size / 1e9))
    with pytest.raises(UserError, match=r"takes .* GB in .*, which may hold .* raise the limit"):
        EmbeddingStore(urls[0]).check_shards()
    monkeypatch.setenv("ASTERISK_CACHE_GB", "many")
    with pytest.raises(UserError, match="ASTERISK_CACHE_GB must be a number of GB, not 'many'"):
        EmbeddingStore(urls[0]).check_shards()
