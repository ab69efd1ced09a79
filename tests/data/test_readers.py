"""Text of any form is read, and what is wrong with it is said in one sentence."""

import gzip
import json
import lzma
import random
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.data.readers import read_columns, read_texts
from tests.support.corpora import PACKED, THREE, build, sentences, write


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


def test_row_of_a_table_without_text_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [7, 8]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 0 of column 'text' holds 7 instead of text"):
        build(tmp_path / "a.parquet", tmp_path)


def test_a_null_text_is_counted_as_a_blank_one_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"text": ["One apple.", None]}), tmp_path / "a.parquet")
    corpus = build(tmp_path / "a.parquet", tmp_path)
    assert (sentences(corpus), corpus.counts["blank"]) == (["One apple."], 1)
    assert "a.parquet has 1 null in column 'text'" in capsys.readouterr().err


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
