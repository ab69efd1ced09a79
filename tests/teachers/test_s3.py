"""A store at s3:// over HTTP, with a server that fails: it is whole, or one sentence says what failed."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.store import EmbeddingStore
from tests.support.s3_server import KEY, S3, SECRET, s3_server
from tests.support.stores import QuickTeacher, contents, quick_corpus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask")), reason="needs s3fs and moto"
    ),
]
STORE = "s3://bucket/store"
ROWS = np.arange(0, 320, 7)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def s3(server: S3, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server without faults, an empty bucket and an empty cache."""
    import s3fs

    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    server.set_faults()
    files = s3fs.S3FileSystem()
    if files.exists(STORE):
        files.rm(STORE, recursive=True)
    server.set_faults()
    yield server
    server.set_faults()


@pytest.mark.parametrize("faults", [{"every": 5}, {"cut": 2}, {"seconds": 0.02}])
def test_faulty_server_gets_the_store_of_a_disk(s3: S3, tmp_path: Path, cache: Path, faults: dict[str, float]) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    s3.set_faults(**faults)
    embed_corpus(corpus, QuickTeacher(), STORE)
    shutil.rmtree(cache)
    store = EmbeddingStore(STORE)
    store.check_shards()
    embed_corpus(corpus, QuickTeacher(), tmp_path / "disk")
    (copies,) = cache.iterdir()
    assert contents(copies) == {k: v for k, v in contents(tmp_path / "disk").items() if k != "manifest.json"}


def test_connection_cut_during_a_download_leaves_no_half_shard(s3: S3, tmp_path: Path, cache: Path) -> None:
    embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), STORE)
    truth = EmbeddingStore(STORE).embeddings(ROWS)
    shutil.rmtree(cache)
    s3.set_faults(cut_downloads=100)
    with pytest.raises(UserError, match=r"s3://bucket/store/shard-00000\.arrow cannot be reached: "):
        EmbeddingStore(STORE).embeddings(ROWS)
    assert not list(cache.rglob("*.arrow"))
    s3.set_faults()
    assert (EmbeddingStore(STORE).embeddings(ROWS) == truth).all()


def test_expired_key_is_reported_without_the_secret(s3: S3, tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    s3.set_faults(expired=True)
    with pytest.raises(UserError, match=r"s3://bucket/store/manifest\.json cannot be reached: ") as said:
        embed_corpus(corpus, QuickTeacher(), STORE)
    assert SECRET not in str(said.value)
    assert KEY not in str(said.value)
    assert len(str(said.value).splitlines()) == 1


def test_training_reads_each_shard_once(s3: S3, tmp_path: Path, cache: Path) -> None:
    embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), STORE)
    total = sum(path.stat().st_size for path in cache.rglob("*.arrow"))
    shutil.rmtree(cache)
    s3.set_faults()
    store = EmbeddingStore(STORE)
    for _ in range(3):
        for start in range(0, 320, 40):
            store.embeddings(np.arange(start, start + 40))
    counts = s3.counts()
    assert sum(count for path, count in counts.downloads.items() if path.endswith(".arrow")) == total
    # Two requests for each shard, and few besides.
    assert sum(counts.requests.values()) <= 2 * 20 + 4


def test_corpus_is_read_from_a_bucket(s3: S3, tmp_path: Path) -> None:
    import s3fs

    with s3fs.S3FileSystem().open("bucket/texts.txt", "w") as file:
        file.write("A man plays.\nIt rains.\n")
    corpus = build_corpus(["s3://bucket/texts.txt"], tmp_path / "corpus")
    assert corpus.shard(0) == ["A man plays.", "It rains."]
