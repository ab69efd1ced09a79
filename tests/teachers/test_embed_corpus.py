"""Embedding a corpus completes a store after any interruption and refuses whatever differs."""

import os
import random
import resource
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.teachers import embed_corpus as embedding
from asterisk.teachers.embed_corpus import embed_corpus, embed_shards
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.shards import shard_name
from asterisk.teachers.store import EmbeddingStore
from tests.support.mounting import small_file_system
from tests.support.ranks import run_ranks
from tests.support.stores import (
    InterruptedTeacher,
    QuickTeacher,
    contents,
    embed_and_tokenize,
    embed_with_the_teacher,
    quick_corpus,
    word_tokenizer,
)


def test_interrupted_embedding_continues_with_the_missing_shards(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt):
        embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=12), tmp_path / "store")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(tmp_path / "store")
    # One of the finished shards is damaged.
    (tmp_path / "store" / shard_name(3)).write_bytes(b"")
    embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=9), tmp_path / "store")  # type: ignore[arg-type]
    embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=0), tmp_path / "store")  # type: ignore[arg-type]
    embed_corpus(corpus, QuickTeacher(), tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_store_of_another_teacher_is_refused_with_the_difference(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    other = QuickTeacher()
    other.fingerprint = "4567"
    with pytest.raises(UserError, match=r'made with teacher_fingerprint = "0123", but "4567" is requested'):
        embed_corpus(corpus, other, tmp_path / "store")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((16, 9)), r"of shape \(16, 9\) instead of \(16, 8\)"),
        (np.ones((15, 8)), r"of shape \(15, 8\) instead of \(16, 8\)"),
        ([[1.0] * 8] * 15 + [[1.0]], r"of mixed widths instead of \(16, 8\)"),
        (np.full((16, 8), np.nan), "not finite for 'sentence number 0'"),
        (np.full((16, 8), 1e5), "not finite for"),
    ],
    ids=["too wide", "too few", "mixed", "not a number", "too large for float16"],
)
def test_vectors_of_another_shape_or_not_finite_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: Any, message: str
) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=2)
    wrong = QuickTeacher(name="the wrong one")
    monkeypatch.setattr(wrong, "encode", lambda texts: (vectors, 0))
    with pytest.raises(UserError, match=message):
        embed_corpus(corpus, wrong, tmp_path / "store")
    assert not [name for name in contents(tmp_path / "store") if not name.endswith(".lock")]
    assert len(embed_corpus(corpus, QuickTeacher(name="the right one"), tmp_path / "store")) == 32


def test_second_teacher_of_an_empty_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    encode = QuickTeacher.encode

    def overtaken(self: QuickTeacher, texts: list[str]) -> tuple[np.ndarray, int]:
        if self.name == "second":
            with pytest.raises(KeyboardInterrupt):
                embed_corpus(corpus, InterruptedTeacher(QuickTeacher(name="first"), 1), tmp_path / "store")  # type: ignore[arg-type]
        return encode(self, texts)

    monkeypatch.setattr(QuickTeacher, "encode", overtaken)
    with pytest.raises(UserError, match='made with teacher = "first", but "second" is requested'):
        embed_corpus(corpus, QuickTeacher(name="second"), tmp_path / "store")
    embed_corpus(corpus, QuickTeacher(name="first"), tmp_path / "store")
    embed_corpus(corpus, QuickTeacher(name="first"), tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_truncated_shard_is_refused_and_remade_after_deletion(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    whole = contents(tmp_path / "store")
    shard = tmp_path / "store" / shard_name(7)
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"shard-00007\.arrow is missing or damaged; delete it and run"):
        embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    shard.unlink()
    embed_corpus(corpus, QuickTeacher(log=tmp_path / "log"), tmp_path / "store")
    assert contents(tmp_path / "store") == whole
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_store_of_a_teacher_without_tokenizer_records_none(tmp_path: Path) -> None:
    store = embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "store")
    assert store.settings["teacher_tokenizer"] is None


def test_resuming_reads_no_shard_that_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt):
        embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=15), tmp_path / "store")  # type: ignore[arg-type]
    for path in (tmp_path / "store").glob("*.arrow"):
        os.utime(path, ns=(0, 0))
    hashed: list[str] = []
    file_hash = embedding.file_hash

    def noted_file_hash(path: Path) -> str:
        hashed.append(path.name)
        return file_hash(path)

    monkeypatch.setattr(embedding, "file_hash", noted_file_hash)
    embed_shards(corpus, QuickTeacher(), tmp_path / "store", 0, 1)
    assert hashed == [shard_name(index) for index in range(15, 20)]


def test_interrupted_remote_store_continues(tmp_path: Path, cache: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    url = f"memory://bucket/{uuid.uuid4().hex}"
    with pytest.raises(KeyboardInterrupt):
        embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=5), url)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(url)
    assert len(embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=15), url)) == 320  # type: ignore[arg-type]
    shard = f"{url}/{shard_name(3)}"
    fsspec.filesystem("memory").pipe_file(shard, b"cut short")
    (RemoteFolder(url).local / shard_name(3)).unlink()
    with pytest.raises(UserError, match=r"shard-00003\.arrow is missing or damaged"):
        EmbeddingStore(url).check_shards()


@pytest.mark.slow
def test_store_killed_at_any_moment_ends_up_with_the_same_bytes_and_nothing_else(
    tmp_path: Path, forks: ForkServerContext
) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    moment = random.Random(0)
    kills = 0
    while True:
        process = forks.Process(target=embed_and_tokenize, args=(tmp_path,))
        process.start()
        # The delay grows, so that the run completes on a busy machine, too.
        process.join(moment.uniform(0, 0.05 + 0.003 * kills))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 5
    embed_corpus(corpus, QuickTeacher(), tmp_path / "undisturbed").tokens(word_tokenizer(), 8)
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


@pytest.mark.slow
def test_real_teacher_killed_after_a_shard_continues_to_the_same_bytes(
    tmp_path: Path, forks: ForkServerContext
) -> None:
    quick_corpus(tmp_path / "corpus")
    process = forks.Process(target=embed_with_the_teacher, args=(tmp_path, "store"))
    process.start()
    while not (tmp_path / "store" / MANIFEST).exists():
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(tmp_path / "store")
    process = forks.Process(target=embed_with_the_teacher, args=(tmp_path, "store", "undisturbed"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [0, 2], ids=["two runs", "two ranks of a run"])
def test_two_processes_share_the_work_and_do_none_of_it_twice(
    tmp_path: Path, ranks: int, forks: ForkServerContext
) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    arguments = (tmp_path, 0.05, tmp_path / "log")
    if ranks:
        run_ranks(forks, ranks, embed_and_tokenize, *arguments)
    else:
        runs = [forks.Process(target=embed_and_tokenize, args=arguments) for _ in range(2)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            assert run.exitcode == 0
    calls = [line.split(maxsplit=1) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(text for _, text in calls) == sorted(corpus.shard(index)[0] for index in range(20))
    assert len({process for process, _ in calls}) == 2
    embed_corpus(corpus, QuickTeacher(), tmp_path / "alone").tokens(word_tokenizer(), 8)
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["small file system", "file size limit"])
def test_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path, kind: str) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=1, rows=1000)
    message = r"shard-00000\.arrow could not be written: (No space left|File too large)"
    disk = tmp_path / "disk"
    with small_file_system(disk, "64k") if kind == "small file system" else file_size_limit(65_536):
        with pytest.raises(UserError, match=message):
            embed_corpus(corpus, QuickTeacher(), disk / "store")
        assert not [name for name in contents(disk / "store") if not name.endswith(".lock")]
