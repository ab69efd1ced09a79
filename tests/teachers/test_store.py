"""A store holds the teacher's vectors, completes itself after any interruption and refuses whatever differs."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.data.corpus import Corpus, build_corpus
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers import store as store_module
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.shards import shard_name
from asterisk.teachers.store import EmbeddingStore, embed_corpus, embed_shards
from asterisk.teachers.teacher import SentenceTransformerTeacher, Teacher
from asterisk.teachers.token_store import tokenize_corpus, tokenizer_hash
from tests.support.mounting import read_only, small_file_system
from tests.support.paths import REPOSITORY
from tests.support.stores import (
    QuickTeacher,
    contents,
    embed_and_tokenize,
    embed_with_the_teacher,
    quick_corpus,
    word_tokenizer,
)


@pytest.fixture
def corpus(tmp_path: Path, sentences: list[str]) -> Corpus:
    (tmp_path / "a.txt").write_text("\n".join([*sentences[:299], "word " * 400]))
    return build_corpus([str(tmp_path / "a.txt")], tmp_path / "store" / "corpus", rows_per_shard=128)


class InterruptedTeacher:
    """The teacher, killed after some calls."""

    def __init__(self, teacher: Teacher, calls: int):
        self.teacher, self.calls = teacher, calls

    def __getattr__(self, name: str) -> object:
        return getattr(self.teacher, name)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        if not self.calls:
            raise KeyboardInterrupt
        self.calls -= 1
        return self.teacher.encode(texts)


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


def test_interrupted_embedding_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt):
        embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=12), tmp_path / "store")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unfinished"):
        EmbeddingStore(tmp_path / "store")
    # One of those that are there is damaged.
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
    with pytest.raises(UserError, match=r'made with teacher_fingerprint = "0123", but "4567" is asked for'):
        embed_corpus(corpus, other, tmp_path / "store")


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
def test_vectors_that_are_not_what_the_teacher_promises_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: Any, message: str
) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=2)
    wrong = QuickTeacher(name="the wrong one")
    monkeypatch.setattr(wrong, "encode", lambda texts: (vectors, 0))
    with pytest.raises(UserError, match=message):
        embed_corpus(corpus, wrong, tmp_path / "store")
    assert not [name for name in contents(tmp_path / "store") if not name.endswith(".lock")]
    assert len(embed_corpus(corpus, QuickTeacher(name="the right one"), tmp_path / "store")) == 32


def test_teacher_that_comes_second_to_an_empty_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    encode = QuickTeacher.encode

    def overtaken(self: QuickTeacher, texts: list[str]) -> tuple[np.ndarray, int]:
        if self.name == "second":
            with pytest.raises(KeyboardInterrupt):
                embed_corpus(corpus, InterruptedTeacher(QuickTeacher(name="first"), 1), tmp_path / "store")  # type: ignore[arg-type]
        return encode(self, texts)

    monkeypatch.setattr(QuickTeacher, "encode", overtaken)
    with pytest.raises(UserError, match='made with teacher = "first", but "second" is asked for'):
        embed_corpus(corpus, QuickTeacher(name="second"), tmp_path / "store")
    embed_corpus(corpus, QuickTeacher(name="first"), tmp_path / "store")
    embed_corpus(corpus, QuickTeacher(name="first"), tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


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
def test_manifest_that_is_none_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    embed_corpus(quick_corpus(tmp_path / "corpus", shards=2), QuickTeacher(), tmp_path / "store")
    manifest = tmp_path / "store" / MANIFEST
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(UserError, match=message):
        EmbeddingStore(tmp_path / "store").check_shards()


def test_shard_that_was_cut_short_is_refused_and_made_again_once_it_is_deleted(tmp_path: Path) -> None:
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


def test_store_of_a_teacher_without_tokenizer_says_so(tmp_path: Path) -> None:
    store = embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "store")
    assert store.settings["teacher_tokenizer"] is None


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Starts processes in no time: they are forked from one that has imported everything and has no threads."""
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(REPOSITORY))
        environment.setenv("ACCELERATE_USE_CPU", "true")
        environment.setenv("OMP_NUM_THREADS", "1")
        context.set_forkserver_preload(["test_store", "sentence_transformers"])
        ensure_running()
    return context


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
        # Ever later, so that a busy machine comes to the end, too.
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
def test_real_teacher_killed_after_a_shard_goes_on_to_the_same_bytes(tmp_path: Path, forks: ForkServerContext) -> None:
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


RANK = """
import sys
from pathlib import Path
from tests.support.stores import embed_and_tokenize
embed_and_tokenize(Path(sys.argv[1]), seconds=0.05, log=Path(sys.argv[1], "log"))
"""


def start_ranks(folder: Path, ranks: int) -> None:
    """Runs RANK as so many ranks of one run."""
    (folder / "rank.py").write_text(RANK)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    subprocess.run(
        [sys.executable, *launch, str(folder / "rank.py"), str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": ".", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [0, 2], ids=["two runs", "two ranks of a run"])
def test_two_processes_share_the_work_and_do_none_of_it_twice(
    tmp_path: Path, ranks: int, forks: ForkServerContext
) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    if ranks:
        start_ranks(tmp_path, ranks)
    else:
        runs = [forks.Process(target=embed_and_tokenize, args=(tmp_path, 0.05, tmp_path / "log")) for _ in range(2)]
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
    with read_only(tmp_path), pytest.raises(UserError, match=r"cannot be made: Read-only"):
        embed_corpus(again, QuickTeacher(), tmp_path / "new")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "asterisk"


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


def test_remote_store_goes_on_where_it_was_interrupted(tmp_path: Path, cache: Path) -> None:
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


def test_place_that_cannot_be_reached_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="nowhere://x cannot be reached"):
        EmbeddingStore("nowhere://x")
    with pytest.raises(UserError, match=r"There is no memory://nothing/manifest\.json"):
        EmbeddingStore("memory://nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made: Not a directory"):
        embed_corpus(quick_corpus(tmp_path / "corpus"), QuickTeacher(), tmp_path / "file" / "store")


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


def test_resuming_reads_no_shard_that_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt):
        embed_corpus(corpus, InterruptedTeacher(QuickTeacher(), calls=15), tmp_path / "store")  # type: ignore[arg-type]
    for path in (tmp_path / "store").glob("*.arrow"):
        os.utime(path, ns=(0, 0))
    hashed = []
    file_hash = store_module.file_hash
    monkeypatch.setattr(store_module, "file_hash", lambda path: hashed.append(path.name) or file_hash(path))
    embed_shards(corpus, QuickTeacher(), tmp_path / "store", 0, 1)
    assert hashed == [shard_name(index) for index in range(15, 20)]


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


def test_open_store_stays_on_disk(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=2, rows=20_000)
    embed_corpus(corpus, QuickTeacher(), tmp_path / "store").tokens(word_tokenizer(), 8)
    before = pa.total_allocated_bytes()
    store = EmbeddingStore(tmp_path / "store")
    tokens = store.tokens(word_tokenizer(), 8)
    assert pa.total_allocated_bytes() - before < 10_000
    assert len(tokens.lengths) == len(store) == 40_000


def test_tokens_are_the_tokenizers_and_padded_to_the_longest(
    corpus: Corpus, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    store = embed_corpus(corpus, QuickTeacher(), tmp_path / "store")
    tokenizer = student_tokenizer(teacher, max_length=64)
    tokens = store.tokens(tokenizer, 64)
    rows = np.array([299, 0, 130])
    input_ids, mask = tokens.padded(rows)
    # What was read may be given back at any time.
    before = store.embeddings(rows)
    store.release()
    tokens.release()
    np.testing.assert_array_equal(store.embeddings(rows), before)
    expected = tokenizer(store.texts(rows), padding=True, truncation=True, max_length=64, return_tensors="np")
    np.testing.assert_array_equal(input_ids * mask, expected["input_ids"] * expected["attention_mask"])
    np.testing.assert_array_equal(mask, expected["attention_mask"])
    assert tokens.lengths[299] == 64


def test_tokens_of_a_corpus_are_those_of_its_store(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus")
    tokenizer = word_tokenizer()
    expected = embed_corpus(corpus, QuickTeacher(), tmp_path / "store").tokens(tokenizer, 8)
    tokens = tokenize_corpus(corpus, tokenizer, 8, tmp_path / "texts")
    np.testing.assert_array_equal(tokens.lengths, expected.lengths)
    rows = np.random.default_rng(0).permutation(320)
    for found, wanted in zip(tokens.padded(rows), expected.padded(rows), strict=True):
        np.testing.assert_array_equal(found, wanted)
    # The tokenizer remembers how it was called last; what it does is the same, and what it did is found again.
    tokenize_corpus(corpus, tokenizer, 8, tmp_path / "texts")
    assert len(list((tmp_path / "texts").iterdir())) == 1
    other = quick_corpus(tmp_path / "other", shards=19)
    assert len(tokenize_corpus(other, tokenizer, 8, tmp_path / "texts").lengths) == 304


def test_batch_of_tokens_takes_well_under_a_millisecond(tmp_path: Path) -> None:
    tokens = tokenize_corpus(quick_corpus(tmp_path / "corpus", rows=500), word_tokenizer(), 32, tmp_path / "texts")
    rows = np.random.default_rng(0).permutation(10_000)[:256]
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        tokens.padded(rows)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1e-3


def test_a_marker_that_another_process_makes_meanwhile_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: Path, **_: object) -> str:
        path.touch()
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert RemoteFolder(tmp_path).read_json("shard-00000.json") is None
