"""Text of any form becomes distinct sentences, and what is wrong with it is said in one sentence."""

import json
import multiprocessing
import os
import random
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.data.arguments import CorpusArguments
from asterisk.data.corpus import build_corpus, corpus_options
from tests.support.corpora import THREE, build, sentences, write
from tests.support.mounting import small_file_system


def test_duplicates_blanks_long_lines_and_benchmark_sentences_are_left_out_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("One apple.\n\none  APPLE\n  \n" + "x" * 10_000_000 + "\nTwo pears.\nA kiwi!\n")
    pq.write_table(pa.table({"sentence1": ["a kiwi"], "score": [1.0]}), tmp_path / "benchmark.parquet")
    corpus = build(source, tmp_path, exclude=[str(tmp_path / "*.parquet")])
    assert sentences(corpus) == ["One apple.", "Two pears."]
    counts = {name: count for name, count in corpus.counts.items() if count}
    assert counts == {"read": 7, "blank": 2, "too long": 1, "duplicate": 1, "in a benchmark": 1, "kept": 2}


def test_a_given_file_format_belongs_to_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text^id\n"One apple.^1\n')
    given = CorpusArguments(separator="^", quoting="none")
    options = corpus_options(given)
    corpus = build(tmp_path / "a.csv", tmp_path, **options)
    assert sentences(corpus) == ['"One apple.']
    assert build(tmp_path / "a.csv", tmp_path, **options) == corpus
    with pytest.raises(UserError, match=r"separator = "):
        build(tmp_path / "a.csv", tmp_path, **corpus_options(CorpusArguments(quoting="none")))


def test_short_sentences_are_left_out_if_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Yes.\nOne ripe apple.\n")
    corpus = build(tmp_path / "a.txt", tmp_path, min_words=3)
    assert sentences(corpus) == ["One ripe apple."]
    assert corpus.counts["too short"] == 1


def test_a_corpus_recorded_with_an_option_that_no_longer_exists_is_found_if_it_was_off(tmp_path: Path) -> None:
    corpus = build(write(tmp_path / "a.txt"), tmp_path)
    path = corpus.folder / MANIFEST
    manifest = json.loads(path.read_text())
    assert not {"near_duplicates", "separator", "encoding", "quoting"} & manifest["settings"].keys()
    for value in (None, 0.8):
        manifest["settings"]["near_duplicates"] = value
        path.write_text(json.dumps(manifest))
        if value is None:
            assert build(tmp_path / "a.txt", tmp_path) == corpus
    with pytest.raises(UserError, match=r"near_duplicates = 0\.8"):
        build(tmp_path / "a.txt", tmp_path)


def test_at_most_so_many_sentences_are_drawn_evenly_from_each_file_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name, number in (("a", 5), ("b", 20_000), ("c", 300)):
        lines = [f"Sentence {n} of file {name}." for n in range(number)]
        (tmp_path / "texts" / f"{name}.txt").write_text("\n".join(lines + lines))
    drawn = build(tmp_path / "texts", tmp_path, sentences_per_source=100)
    texts = sentences(drawn)
    assert [sum(text.endswith(f"{name}.") for text in texts) for name in "abc"] == [5, 100, 100]
    numbers = [int(text.split()[1]) for text in texts if text.endswith("b.")]
    assert numbers == sorted(numbers)
    assert sum(number < 10_000 for number in numbers) == pytest.approx(50, abs=20)
    assert drawn.counts["beyond the source's share"] == 19_900 + 200
    assert drawn.counts["duplicate"] == 20_305
    again = build_corpus([str(tmp_path / "texts")], tmp_path / "again", sentences_per_source=100)
    assert sentences(again) == texts
    with pytest.raises(UserError, match="made with sentences_per_source = 100, but null is requested"):
        build(tmp_path / "texts", tmp_path)
    with pytest.raises(UserError, match="not -1"):
        build(tmp_path / "texts", tmp_path, sentences_per_source=-1)


def test_labelled_texts_are_all_there_however_little_is_drawn_of_the_rest(tmp_path: Path) -> None:
    texts = [f"Sentence {n}." for n in range(50)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    (tmp_path / "pairs.txt").write_text("\n".join(texts[:20]))
    corpus = build(tmp_path / "a.txt", tmp_path, sentences_per_source=5, labelled=[str(tmp_path / "pairs.txt")])
    assert sentences(corpus)[:20] == texts[:20]
    assert corpus.num_sentences == 25


def build_slowly(folder: Path, results: SimpleQueue) -> None:  # type: ignore[type-arg]
    corpus = build_corpus([str(folder / "a.txt")], folder / "out" / "corpus")
    results.put((os.getpid(), corpus.counts["kept"], (corpus.folder / MANIFEST).stat().st_ino))


def test_processes_that_read_the_same_corpus_at_once_do_it_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"Sentence {n} of many." for n in range(20_000)))
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=build_slowly, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len({process for process, *_ in found}) == 4
    assert len({(kept, file) for _, kept, file in found}) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["corpus"]


@pytest.mark.parametrize("change", [lambda content: content[:-50], lambda content: content[:60] + b"?" + content[61:]])
def test_damaged_shard_of_a_corpus_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    corpus = build(write(tmp_path / "a.txt"), tmp_path)
    shard = next(corpus.folder.glob("*.parquet"))
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(UserError, match=r"shard-00000\.parquet is missing or damaged .* run the command again"):
        corpus.shard(0)


def test_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    corpus = build(write(tmp_path / "a.txt"), tmp_path)
    for content, message in (("[]", "not the manifest of a corpus"), ("{", "cannot be read as JSON")):
        (corpus.folder / MANIFEST).write_text(content)
        with pytest.raises(UserError, match=message):
            build(tmp_path / "a.txt", tmp_path)


def test_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(random.Random(n).randbytes(40).hex() for n in range(9_999)))
    with small_file_system(tmp_path / "disk", size="64k"):
        with pytest.raises(UserError, match="corpus could not be written: No space left"):
            build_corpus([str(tmp_path / "a.txt")], tmp_path / "disk" / "out" / "corpus")
        assert not list((tmp_path / "disk").iterdir())


def test_lock_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A man sleeps.")
    build(tmp_path / "a.txt", tmp_path)
    (tmp_path / "out" / ".corpus.lock").touch()
    build(tmp_path / "a.txt", tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["corpus"]


def test_corpus_is_read_once_and_another_ones_folder_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt")
    first = build(source, tmp_path, rows_per_shard=2)
    assert first.rows_per_shard == [2, 1]
    assert build(source, tmp_path, rows_per_shard=2) == first
    content = source.read_text()
    source.write_text(content.replace("apple", "grape"))  # as many bytes as before
    with pytest.raises(UserError, match="was made with sources"):
        build(source, tmp_path, rows_per_shard=2)
    assert sentences(first) == THREE
