"""A store gives the teacher's vectors row by row, and refuses damaged or foreign files."""

import json
import os
import time
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.data.corpus import Corpus, build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.shards import shard_name
from asterisk.teachers.store import EmbeddingStore
from asterisk.teachers.token_store import tokenizer_hash
from tests.support.mounting import read_only
from tests.support.stores import (
    QuickTeacher,
    quick_corpus,
    word_tokenizer,
)


@pytest.mark.slow
def test_store_holds_the_teachers_vectors_row_by_row(
    corpus: Corpus, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    store = embed_corpus(corpus, teacher, tmp_path / "store")
    assert len(store) == 300
    assert store.rows_per_shard == [128, 128, 44]
    assert store.truncated == 1
    assert json.loads((tmp_path / "store" / MANIFEST).read_text())["truncated_share"] == 1 / 300
    assert store.settings["teacher_tokenizer"] == tokenizer_hash(teacher.tokenizer)
    rows = np.array([299, 0, 130, 131, 5])
    expected = teacher.model.encode(store.texts(rows), normalize_embeddings=True)
    np.testing.assert_allclose(store.embeddings(rows), expected, atol=1e-3)
    assert store.embeddings(rows).dtype == np.float16
    assert store.texts(rows[1:2]) == corpus.shard(0)[:1]


def test_damaged_shard_and_newer_manifest_are_refused(tmp_path: Path) -> None:
    embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "store")
    shard = tmp_path / "store" / shard_name(1)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    store = EmbeddingStore(tmp_path / "store")
    for read in (lambda: store.embeddings(np.array([16])), lambda: store.texts([16]), store.check_shards):
        with pytest.raises(UserError, match=r"shard-00001\.arrow is missing or damaged"):
            read()
    assert store.texts([0]) == ["sentence number 0"]
    manifest = json.loads((tmp_path / "store" / MANIFEST).read_text())
    (tmp_path / "store" / MANIFEST).write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(UserError, match="version 99"):
        EmbeddingStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read as JSON"),
        (lambda text: "[1, 2]", "is not the manifest of a store"),
        (lambda text: text.replace('"settings"', '"sittings"'), "has no 'settings'"),
        (lambda text: text.replace('"sha256"', '"sha1"'), "has no 'sha256'"),
        (lambda text: text.replace("shard-00001.arrow", "../shard-00001.arrow"), r"names '\.\./shard-00001\.arrow'"),
        (lambda text: text.replace("shard-00001.arrow", "/etc/passwd"), "names '/etc/passwd' where shard-00001"),
        (lambda text: text.replace('"rows": 16', '"rows": 17'), "holds 16 vectors of 8 dimensions"),
        (lambda text: text.replace('"dimension": 8', '"dimension": 4'), "says 16 of 4"),
    ],
)
def test_malformed_manifest_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    embed_corpus(quick_corpus(tmp_path / "corpus", shards=2), QuickTeacher(), tmp_path / "store")
    manifest = tmp_path / "store" / MANIFEST
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(UserError, match=message):
        EmbeddingStore(tmp_path / "store").check_shards()


def test_complete_store_serves_where_nobody_may_write(tmp_path: Path, cache: Path) -> None:
    corpus = quick_corpus(tmp_path / "store" / "corpus")
    written = embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    expected = written.tokens(word_tokenizer(), 8).padded(np.arange(320))
    (tmp_path / "store" / ".left.lock").touch()
    with read_only(tmp_path / "store"):
        again = build_corpus([str(tmp_path / "store" / "corpus.txt")], corpus.folder, rows_per_shard=16)
        store = embed_corpus(again, QuickTeacher(), tmp_path / "store")
        np.testing.assert_array_equal(store.embeddings(np.arange(320)), written.embeddings(np.arange(320)))
        for found, wanted in zip(store.tokens(word_tokenizer(), 8).padded(np.arange(320)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert [path.name[:7] for path in cache.iterdir()] == ["tokens-"]
        with pytest.raises(UserError, match="made with teacher"):
            embed_corpus(again, QuickTeacher(name="other"), tmp_path / "store")
    with read_only(tmp_path), pytest.raises(UserError, match=r"cannot be created: Read-only"):
        embed_corpus(again, QuickTeacher(), tmp_path / "new")


def test_remote_store_is_the_local_one_and_fetched_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    local = embed_corpus(corpus, QuickTeacher(), f"file://{tmp_path}/local")
    assert not cache.exists()
    url = f"memory://bucket/{uuid.uuid4().hex}"
    embed_corpus(corpus, QuickTeacher(), url)
    system = fsspec.filesystem("memory")
    names = [Path(name).name for name in system.ls(url, detail=False)]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "local").iterdir())
    for name in names:
        if name != MANIFEST:
            assert system.cat_file(f"{url}/{name}") == (tmp_path / "local" / name).read_bytes()
    # Another machine: nothing is there yet.
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "another"))
    fetched: list[str] = []
    get_file = type(system).get_file

    def noted_get_file(self: Any, path: str, *arguments: Any) -> None:
        fetched.append(path)
        get_file(self, path, *arguments)

    monkeypatch.setattr(type(system), "get_file", noted_get_file)
    store = EmbeddingStore(url)
    assert not fetched
    store.texts([319])
    assert [Path(path).name for path in fetched] == [shard_name(19)]
    store.check_shards()
    assert len(fetched) == 20
    rows = np.array([319, 0, 17])
    np.testing.assert_array_equal(store.embeddings(rows), local.embeddings(rows))
    assert store.texts(rows) == local.texts(rows)
    store.tokens(word_tokenizer(), 8)
    EmbeddingStore(url).check_shards()
    assert len(fetched) == 20
    assert not list(store.folder.glob(".*"))


@pytest.mark.slow
def test_opening_a_store_of_100_000_shards_reads_only_its_manifest(tmp_path: Path) -> None:
    shards = [{"file": shard_name(index), "rows": 65_536, "sha256": f"{index:064x}"} for index in range(100_000)]
    manifest = {"version": 1, "settings": {"dimension": 8}, "truncated": 0, "shards": shards}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    tracemalloc.start()
    EmbeddingStore(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
    started = time.process_time()
    assert len(EmbeddingStore(tmp_path)) == 6_553_600_000
    assert time.process_time() - started < 1


def test_few_shards_mapped_at_a_time_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "store")
    rows = np.random.default_rng(0).permutation(320)
    expected, tokens = store.embeddings(rows), store.tokens(word_tokenizer(), 8).padded(rows)[0]
    monkeypatch.setattr("asterisk.teachers.shards.MAX_MAPPED", 3)
    few = EmbeddingStore(tmp_path / "store")
    files = len(os.listdir("/proc/self/fd"))
    for part in np.split(rows, 10):
        few.embeddings(part)
    assert len(os.listdir("/proc/self/fd")) <= files + 3
    np.testing.assert_array_equal(few.embeddings(rows), expected)
    assert few.texts(rows) == store.texts(rows)
    np.testing.assert_array_equal(few.tokens(word_tokenizer(), 8).padded(rows)[0], tokens)


@pytest.mark.slow
def test_open_store_stays_on_disk(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=2, rows=20_000)
    embed_corpus(corpus, QuickTeacher(), tmp_path / "store").tokens(word_tokenizer(), 8)
    before = pa.total_allocated_bytes()
    store = EmbeddingStore(tmp_path / "store")
    tokens = store.tokens(word_tokenizer(), 8)
    assert pa.total_allocated_bytes() - before < 10_000
    assert len(tokens.lengths) == len(store) == 40_000
