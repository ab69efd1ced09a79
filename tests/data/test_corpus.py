"""Text of any form becomes distinct sentences, and what is wrong with it is said in one sentence."""

import bz2
import gzip
import json
import lzma
import multiprocessing
import os
import random
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.data.arguments import CorpusArguments
from asterisk.data.corpus import Corpus, build_corpus, corpus_options
from asterisk.data.decontamination import benchmark_keys, benchmark_patterns
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import read_columns, read_texts
from tests.support.mounting import small_file_system

ROOT = Path(__file__).parents[2]
EVALUATION = ROOT.parent / "shared" / "data" / "eval"
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}

THREE = ["One apple.", "Two pears.", "Three plums."]


def build(source: Path | str, tmp_path: Path, **options: object) -> Corpus:
    return build_corpus([str(source)], tmp_path / "out" / "corpus", **options)  # type: ignore[arg-type]


def sentences(corpus: Corpus) -> list[str]:
    return [text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index)]


def write(path: Path) -> Path:
    """Writes THREE in the form that the file's name asks for."""
    form, *packing = path.suffixes
    if form == ".parquet":
        pq.write_table(pa.table({"text": THREE, "id": [0, 1, 2]}), path)
        return path
    rows: dict[str, list[str]] = {
        ".txt": THREE,
        ".jsonl": [json.dumps({"text": text}) for text in THREE],
        ".json": [json.dumps([{"text": text} for text in THREE])],
        ".csv": ["text,id", *(f"{text},{n}" for n, text in enumerate(THREE))],
        ".tsv": ["text\tid", *(f"{text}\t{n}" for n, text in enumerate(THREE))],
    }
    content = "".join(line + "\n" for line in rows[form]).encode()
    path.write_bytes(PACKED[packing[0]](content) if packing else content)
    return path


@pytest.mark.parametrize("packing", ["", *PACKED])
@pytest.mark.parametrize("form", [".txt", ".jsonl", ".json", ".csv", ".tsv"])
def test_every_form_of_file_gives_the_same_sentences(form: str, packing: str, tmp_path: Path) -> None:
    assert sentences(build(write(tmp_path / f"a{form}{packing}"), tmp_path)) == THREE


def test_parquet_gives_the_same_sentences(tmp_path: Path) -> None:
    assert sentences(build(write(tmp_path / "a.parquet"), tmp_path)) == THREE


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl", "a.csv", "a.parquet"])
def test_a_url_names_a_file_anywhere(name: str, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/{name}"
    with fsspec.open(url, "wb") as file:
        file.write(write(tmp_path / name).read_bytes())
    assert sentences(build(url, tmp_path)) == THREE


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hub:owner/name", "main train"),
        ("hub:owner/name:other", "other train"),
        ("hub:owner/name:other:test", "other test"),
        ("hub:owner/name::test", "main test"),
    ],
)
def test_hub_dataset_is_named_with_configuration_and_split(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # datasets reads a folder in the working directory by the same name, layout and code as one on the Hub.
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    card = "---\nconfigs:\n"
    for config in ("main", "other"):
        card += f"- config_name: {config}\n  default: {str(config == 'main').lower()}\n  data_files:\n"
        for split in ("train", "test"):
            (folder / f"{config}_{split}.jsonl").write_text(json.dumps({"text": f"{config} {split}"}) + "\n")
            card += f"  - split: {split}\n    path: {config}_{split}.jsonl\n"
    (folder / "README.md").write_text(card + "---\n")
    monkeypatch.chdir(tmp_path)
    assert sentences(build(source, tmp_path)) == [expected]


def test_hub_dataset_that_cannot_be_had_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="no file or folder nobody/nothing, and the Hub dataset nobody/nothing cannot"):
        build("nobody/nothing", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_csv_file_s_sentences_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,score\nNA,1.5\nnull,2\n2024,3\n"two\nlines",4\n,5\n')
    corpus = build(tmp_path / "a.csv", tmp_path)
    assert sentences(corpus) == ["NA", "null", "2024", "two\nlines"]
    assert corpus.counts["blank"] == 1
    columns = read_columns(str(tmp_path / "a.csv"), ["text", "score"])
    assert columns["score"] == ["1.5", "2", "3", "4", "5"]
    columns = read_columns(str(tmp_path / "a.csv"), ["text", "score"], numbers=["score"])
    assert columns["score"] == [1.5, 2, 3, 4, 5]
    assert columns["text"][:2] == ["NA", "null"]


def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne apple.\r\nTwo pears.\r\n")
    assert sentences(build(tmp_path / "a.txt", tmp_path)) == THREE[:2]


def test_rows_of_jsonl_need_not_have_the_same_other_fields(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One apple."}\n\n{"text": "Two pears.", "id": [1, "x"]}\n')
    assert sentences(build(tmp_path / "a.jsonl", tmp_path)) == THREE[:2]


def test_json_is_a_list_or_an_object_a_line_and_all_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"text": "One apple."}\n{"text": "Two pears.", "day": "2001-02-03"}\n')
    assert sentences(build(path, tmp_path)) == THREE[:2]
    for content, message in (
        (b'null[{"text": "soup", ' + b"\xff" * 38 + b'"label": "food"}]', "is not UTF-8 text"),
        (b"null[]", "line 1 is not JSON"),
        (b'[{"text": "One apple."}, 3]', "item 1 must hold a JSON object, not 3"),
        (b'[{"text": "One apple."}', "a.json cannot be read: Expecting"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            list(read_texts(str(path), "text"))


def test_folders_and_patterns_stand_for_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text(f"This is {name}.\n")
    (tmp_path / "README.md").write_text("Not a text to train on.\n")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "c.txt").write_text("Not meant either.\n")
    assert sentences(build_corpus([str(tmp_path)], tmp_path / "x")) == ["This is a.txt.", "This is b.txt."]
    assert f"{tmp_path} also holds files that are not read: README.md." in capsys.readouterr().err
    assert sentences(build_corpus([str(tmp_path / "*")], tmp_path / "y")) == ["This is a.txt.", "This is b.txt."]


def test_duplicates_blanks_long_lines_and_benchmark_sentences_are_left_out_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("One apple.\n\none  APPLE\n  \n" + "x" * 10_000_000 + "\nTwo pears.\nA kiwi!\n")
    pq.write_table(pa.table({"sentence1": ["a kiwi"], "score": [1.0]}), tmp_path / "benchmark.parquet")
    corpus = build(source, tmp_path, exclude=[str(tmp_path / "*.parquet")])
    assert sentences(corpus) == ["One apple.", "Two pears."]
    counts = {name: count for name, count in corpus.counts.items() if count}
    assert counts == {"read": 7, "blank": 2, "too long": 1, "duplicate": 1, "in a benchmark": 1, "kept": 2}


@pytest.mark.parametrize("name", ["b.parquet", "b.jsonl", "b.jsonl.gz"])
def test_benchmark_strings_in_lists_and_structures_are_left_out(name: str, tmp_path: Path) -> None:
    rows = [{"sentences": ["one apple", None], "pair": {"first": "TWO PEARS"}, "score": 1.0, "image": None}]
    if name == "b.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        content = (json.dumps(rows[0]) + "\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    corpus = build(write(tmp_path / "a.txt"), tmp_path, exclude=[str(tmp_path / "b.*")])
    assert sentences(corpus) == ["Three plums."]


def test_split_texts_are_kept_apart_from_the_sentences_of_benchmark_texts(tmp_path: Path) -> None:
    review = "Dr. Jones paid $3.50 for it. A fine film!\nIt ends\nwell."
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": review}) + "\n" + json.dumps({"text": " "}) + "\n")
    pq.write_table(pa.table({"text": ["A fine film! Nobody says so."]}), tmp_path / "b.parquet")
    corpus = build(tmp_path / "a.jsonl", tmp_path, split_sentences="en", exclude=[str(tmp_path / "b.parquet")])
    assert sentences(corpus) == ["Dr. Jones paid $3.50 for it.", "It ends well."]
    counts = {name: count for name, count in corpus.counts.items() if count}
    assert counts == {"read": 2, "sentences": 4, "blank": 1, "in a benchmark": 1, "kept": 2}


def test_named_benchmarks_are_left_out_but_for_their_training_parts(tmp_path: Path) -> None:
    for name in ("sts/A.dev", "sts/A.train", "classification/B.all", "clustering/C.train", "retrieval/D.corpus"):
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": [f"from {name}"]}), path)
    excluded = benchmark_keys([f"benchmarks:{tmp_path}"])
    assert excluded == {
        sentence_key(f"from {name}") for name in ("sts/A.dev", "classification/B.all", "retrieval/D.corpus")
    }
    with pytest.raises(UserError, match="holds no benchmarks"):
        benchmark_patterns(tmp_path / "sts")


@pytest.mark.slow
@pytest.mark.skipif(not EVALUATION.exists(), reason="the benchmarks are not here")
def test_no_test_sentence_of_the_benchmarks_gets_into_a_corpus(tmp_path: Path) -> None:
    test = read_columns(str(EVALUATION / "sts" / "STSBenchmark.test.parquet"), ["sentence1"])["sentence1"]
    (tmp_path / "a.txt").write_text("\n".join([*test, "No benchmark has this sentence about corpus tests."]))
    (tmp_path / "eval").mkdir()
    for kind in ("sts", "pairs"):
        (tmp_path / "eval" / kind).symlink_to(EVALUATION / kind)
    corpus = build(tmp_path / "a.txt", tmp_path, exclude=[f"benchmarks:{tmp_path / 'eval'}"])
    assert sentences(corpus) == ["No benchmark has this sentence about corpus tests."]


@pytest.mark.skipif(not EVALUATION.exists(), reason="the benchmarks are not here")
def test_sentences_of_test_splits_are_known_without_the_benchmarks() -> None:
    known = benchmark_keys(["benchmarks"])
    for file, share in (("sts/STS16.test", 1.0), ("pairs/SNLI.test", 1.0), ("pairs/SNLI.dev", 0.2)):
        columns = ["premise", "hypothesis"] if "SNLI" in file else ["sentence1", "sentence2"]
        keys = {
            sentence_key(text)
            for column in read_columns(str(EVALUATION / f"{file}.parquet"), columns).values()
            for text in column
        } - {sentence_key("")}
        # The release is trained on SNLI's development sentences, but for those of other benchmarks.
        found = sum(key in known for key in keys) / len(keys)
        assert found == 1 if share == 1 else found < share, file


def test_row_of_a_table_without_text_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [7, 8]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 0 of column 'text' holds 7 instead of text"):
        build(tmp_path / "a.parquet", tmp_path)


def test_a_given_file_format_belongs_to_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text^id\n"One apple.^1\n')
    given = CorpusArguments(separator="^", quoting="none")
    options = corpus_options(given)
    corpus = build(tmp_path / "a.csv", tmp_path, **options)
    assert sentences(corpus) == ['"One apple.']
    assert build(tmp_path / "a.csv", tmp_path, **options) == corpus
    with pytest.raises(UserError, match=r"separator = "):
        build(tmp_path / "a.csv", tmp_path, **corpus_options(CorpusArguments(quoting="none")))


def test_a_null_text_is_counted_as_a_blank_one_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"text": ["One apple.", None]}), tmp_path / "a.parquet")
    corpus = build(tmp_path / "a.parquet", tmp_path)
    assert (sentences(corpus), corpus.counts["blank"]) == (["One apple."], 1)
    assert "a.parquet has 1 null in column 'text'" in capsys.readouterr().err


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


def test_documents_are_put_together_from_successive_sentences_of_a_source(tmp_path: Path) -> None:
    texts = [f"Sentence {n}." for n in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    corpus = build(tmp_path / "a.txt", tmp_path, documents_per_source=10, sentences_per_source=50)
    documents = sentences(corpus)[50:]
    assert len(documents) == corpus.counts["put together"] == 10
    assert corpus.counts["kept"] == 60
    whole = " ".join(texts)
    assert all(document in whole and 2 <= document.count("Sentence") <= 12 for document in documents)
    assert len({document.count("Sentence") for document in documents}) > 3
    with pytest.raises(UserError, match="not -1"):
        build(tmp_path / "a.txt", tmp_path, documents_per_source=-1)


def test_phrases_and_crossings_follow_the_sentences_they_are_made_of(tmp_path: Path) -> None:
    for name in "ab":
        lines = [" ".join(f"{name}{n}-{word}" for word in range(8)) for n in range(300)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    (tmp_path / "benchmark.txt").write_text("a7-3\n")
    options = {"phrases_per_source": 200, "crossings_per_source": 50, "exclude": [str(tmp_path / "benchmark.txt")]}
    corpus = build_corpus([str(tmp_path / "[ab].txt")], tmp_path / "corpus", **options)  # type: ignore[arg-type]
    texts = sentences(corpus)
    whole, made = texts[:600], texts[600:]
    assert all(len(text.split()) == 8 for text in whole)
    assert len(made) == corpus.counts["recombined"]
    assert len(made) + 600 == corpus.counts["kept"] == len(set(texts))
    assert corpus.counts["duplicate"] == 0
    assert "a7-3" not in made
    inside = [text for text in made if any(text in sentence for sentence in whole)]
    # All but the whole sentences among the phrases, which are there already.
    assert 250 < len(inside) < 400
    assert {len(text.split()) for text in inside} == set(range(1, 8))
    crossed = [text for text in made if text not in inside]
    assert len(crossed) == 100
    for text in crossed:
        origins = [word.split("-")[0] for word in text.split()]
        assert len(set(origins)) == 2 == len({origin[0] for origin in origins}) + 1
        assert sorted(origins, key=origins.index) == origins
    again = build_corpus([str(tmp_path / "[ab].txt")], tmp_path / "again", **options)  # type: ignore[arg-type]
    assert sentences(again) == texts


def test_one_file_may_be_crossed_more_often_than_the_others(tmp_path: Path) -> None:
    for name in "ab":
        lines = [" ".join(f"{name}{n}-{word}" for word in range(8)) for n in range(300)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    sources = [str(tmp_path / "[ab].txt")]
    options = {"crossings_per_source": 20, "crossings": ["b.txt=900"]}
    made = sentences(build_corpus(sources, tmp_path / "corpus", **options))[600:]  # type: ignore[arg-type]
    assert sum(text.startswith("a") for text in made) == 20
    assert sum(text.startswith("b") for text in made) > 890
    with pytest.raises(UserError, match=r"c\.txt, but no source"):
        build_corpus(sources, tmp_path / "other", crossings=["c.txt=900"])
    with pytest.raises(UserError, match="two numbers for b"):
        build_corpus(sources, tmp_path / "other", crossings=["b.txt=9", "b.txt=8"])
    assert corpus_options(CorpusArguments(crossings=["none"]))["crossings"] == []
    for wrong in ("b.txt", "b.txt=", "=5", "b.txt=-1"):
        with pytest.raises(UserError, match="NAME=NUMBER"):
            build_corpus(sources, tmp_path / "other", crossings=[wrong])
    with pytest.raises(UserError, match="other"):
        build_corpus(sources, tmp_path / "corpus", crossings_per_source=20)


def test_labelled_texts_are_all_there_however_little_is_drawn_of_the_rest(tmp_path: Path) -> None:
    texts = [f"Sentence {n}." for n in range(50)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    (tmp_path / "pairs.txt").write_text("\n".join(texts[:20]))
    corpus = build(tmp_path / "a.txt", tmp_path, sentences_per_source=5, labelled=[str(tmp_path / "pairs.txt")])
    assert sentences(corpus)[:20] == texts[:20]
    assert corpus.num_sentences == 25


def test_sentences_of_a_hub_dataset_s_test_split_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for split, text in (("train", THREE[0]), ("test", THREE[1])):
        (tmp_path / "owner" / "name" / f"{split}.jsonl").write_text(json.dumps({"sentence1": text.lower()}) + "\n")
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "a.txt")
    corpus = build(source, tmp_path, measured=["hub:owner/name"])
    assert sentences(corpus) == [THREE[0], THREE[2]]
    assert corpus.leaves_out("hub:owner/name")
    # The existing corpus is reused, and the message says so.
    (tmp_path / "b.jsonl").write_text(json.dumps({"sentence1": THREE[0]}) + "\n")
    corpus = build(source, tmp_path, measured=[str(tmp_path / "b.jsonl")])
    assert sentences(corpus) == [THREE[0], THREE[2]]
    assert not corpus.leaves_out(str(tmp_path / "b.jsonl"))


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "no sentence to train on"),
        ("blank.txt", b"\n  \n\t\n", "3 blank"),
        ("damaged.txt", "One apple.\ncafé, thé\n".encode() + b"\xff", "not UTF-8 text .* --encoding"),
        ("broken.txt.xz", b"no xz at all", "cannot be read"),
        ("cut.txt.gz", gzip.compress(b"One apple.\n" * 9999)[:-20], "cannot be read"),
        ("other.jsonl", b'{"body": "One apple."}\n', "no column 'text'; its columns are body"),
        ("nulls.jsonl", b'{"text": null}\n{"text": null}\n', "2 blank"),
        ("key.jsonl", b'{"text": "One apple."}\n{"body": "Two."}\n', r"row 1 has no 'text', only body \(line 2\)"),
        ("number.jsonl", b'{"text": 3}\n', "row 0 of column 'text' holds 3"),
        ("list.jsonl", b'["One apple."]\n', "line 1 must hold a JSON object"),
        ("open.jsonl", b'{"text": "One"}\n{"text": "Tw\n', "line 2 is not JSON"),
        ("half.jsonl", b'{"text": "\\ud83d"}\n', "line 1 is not JSON: .*surrogates"),
        ("latin.jsonl", '{"text": "caf\xe9"}\n'.encode("latin-1"), "not UTF-8 text"),
        ("damaged.csv", "text\ncafé, thé\n".encode() + b"\xff", "not UTF-8 text"),
        ("other.csv", b"body\nOne apple.\n", "no column 'text'; its columns are body"),
        ("cut.csv.gz", gzip.compress(b"text\n" + random.Random(0).randbytes(999).hex().encode())[:-20], "cannot be"),
        ("cut.jsonl.xz", lzma.compress(b'{"text": "One apple."}\n' * 9999)[:-20], "cannot be read"),
        ("cut.txt.zst", zstandard.compress(b"One apple.\n" * 9999)[:-9], "cannot be read"),
        ("cut.csv.zst", zstandard.compress(b"text\n" + b"One apple.\n" * 9999)[:-9], "cannot be read"),
        ("unquoted.csv", b"text\nApples, pears\n", "more fields than the header"),
        ("ragged.csv", b"text,id\nOne apple.,1\nTwo pears.,2,3,4\n", "cannot be read"),
        ("broken.parquet", b"PAR1", "cannot be read"),
        ("image.png", b"\x89PNG", "cannot be read: give a folder, or a file that ends in"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left_behind(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build(tmp_path / name, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "source", ["missing.txt", "missing/*.txt", "./missing", "/nowhere/at/all", "hub:a/b/c", "ftp://x/y"]
)
def test_missing_source_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        build(source, tmp_path)


def test_sentences_of_mtebs_benchmarks_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A GIRL is styling her hair!\nA sentence that no benchmark has, of all things.\n")
    for exclude, kept in ((["benchmarks"], 1), (["none"], 2)):
        arguments = CorpusArguments(corpus=[str(tmp_path / "a.txt")], exclude=exclude)
        corpus = build_corpus(arguments.corpus, tmp_path / exclude[0], **corpus_options(arguments))
        assert corpus.num_sentences == kept
        assert corpus.counts["in a benchmark"] == 2 - kept
    assert CorpusArguments().exclude == ["benchmarks"]
