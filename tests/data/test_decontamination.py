"""No sentence of a benchmark gets into a corpus."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asterisk.core.errors import UserError
from asterisk.data.arguments import CorpusArguments
from asterisk.data.corpus import build_corpus, corpus_options
from asterisk.data.decontamination import benchmark_keys, benchmark_patterns
from asterisk.data.deduplication import sentence_key
from asterisk.data.readers import read_columns
from tests.support.corpora import THREE, build, sentences, write

ROOT = Path(__file__).parents[2]


EVALUATION = ROOT.parent / "shared" / "data" / "eval"


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


def test_sentences_of_mtebs_benchmarks_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A GIRL is styling her hair!\nA sentence that no benchmark has, of all things.\n")
    for exclude, kept in ((["benchmarks"], 1), (["none"], 2)):
        arguments = CorpusArguments(corpus=[str(tmp_path / "a.txt")], exclude=exclude)
        corpus = build_corpus(arguments.corpus, tmp_path / exclude[0], **corpus_options(arguments))
        assert corpus.num_sentences == kept
        assert corpus.counts["in a benchmark"] == 2 - kept
    assert CorpusArguments().exclude == ["benchmarks"]
