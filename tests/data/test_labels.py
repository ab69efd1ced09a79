"""Labelled tables are read as they are written, split fairly, and refused in a sentence where they are wrong."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asterisk.core.errors import UserError
from asterisk.data.labelled_tables import read_labelled_texts, read_unlabelled_texts
from asterisk.data.labels import (
    MULTI,
    REGRESSION,
    SINGLE,
    LabelledTexts,
    check_training,
    class_names,
    label_array,
    split_off_label,
    without_empty,
)
from asterisk.data.splits import count_shared, draw, split_development
from tests.support.labelled import topic_rows, write_table


def labelled(labels: list, texts: list[str] | None = None, problem_type: str = SINGLE) -> LabelledTexts:
    texts = texts or [f"text {number}" for number in range(len(labels))]
    return LabelledTexts("train.csv", "text", "label", problem_type, texts, labels)


def test_csv_cells_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes('\ufefftext,label\r\n"He said ""no"",\nand left.",007\r\nNA, 1e5 \r\n"café",True\r\n'.encode())
    found = read_labelled_texts(str(path))
    assert found.texts == ['He said "no",\nand left.', "NA", "café"]
    assert found.labels == ["007", "1e5", "True"]


@pytest.mark.parametrize(
    ("labels", "problem_type", "read"),
    [
        (["cat", "dog", "cat"], SINGLE, ["cat", "dog", "cat"]),
        ([10, 9, 10], SINGLE, ["10", "9", "10"]),
        ([0.5, 2, 1.0], REGRESSION, [0.5, 2.0, 1.0]),
        ([["cat", "dog"], [], ["cat", "cat"]], MULTI, [["cat", "dog"], [], ["cat"]]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_labels_tell_what_is_to_be_learned(
    labels: list, problem_type: str, read: list, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"train.{kind}"
    separator = ""
    if kind == "csv" and problem_type == MULTI:
        separator = "|"
        labels = ["|".join(own) for own in labels]
    table = pd.DataFrame({"text": ["one", "two", "three"], "label": labels})
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "csv":
        write_table(path, list(zip(table.text, labels, strict=True)))
    else:
        rows = [{"text": text, "label": label} for text, label in zip(table.text, labels, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_labelled_texts(str(path), separator=separator)
    assert (found.problem_type, found.labels) == (problem_type, read)


def test_columns_are_guessed_from_names_and_contents(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    write_table(path, [("1", "A long question about something?", "x")], head="id,Utterance,Intent")
    found = read_labelled_texts(str(path))
    assert (found.text_column, found.label_column) == ("Utterance", "Intent")
    write_table(path, [("x", "The longer of the two.")], head="kind,words")
    found = read_labelled_texts(str(path))
    assert (found.text_column, found.label_column) == ("words", "kind")
    write_table(path, [("a", "b", "The longest of the three.")], head="one,two,three")
    with pytest.raises(UserError, match="cannot be guessed; name one of one, two, three with --label_column"):
        read_labelled_texts(str(path))
    assert read_labelled_texts(str(path), label_column="two").text_column == "three"


def test_a_folder_is_read_whole_unless_its_files_are_of_several_splits(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / f"{name}.csv", [(name, "x")])
    assert read_labelled_texts(str(tmp_path)).texts == ["one", "two"]
    write_table(tmp_path / "my_train.csv", [("seen", "x")])
    write_table(tmp_path / "test.0.csv", [("unseen", "x")])
    assert read_labelled_texts(str(tmp_path)).texts == ["seen"]
    assert read_labelled_texts(str(tmp_path), split="test").texts == ["unseen"]
    with pytest.raises(UserError, match="none with 'validation' in its name"):
        read_labelled_texts(str(tmp_path), split="validation")


def test_folders_tell_splits_apart_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        (tmp_path / "default" / split).mkdir(parents=True)
        write_table(tmp_path / "default" / split / "0000.csv", [(split, "x")])
    assert read_labelled_texts(str(tmp_path)).texts == ["train"]
    assert "only those of train are read: default/train/0000.csv." in capsys.readouterr().err
    assert read_labelled_texts(str(tmp_path), split="test").texts == ["test"]


def test_a_folder_may_hold_csv_and_json_with_numbers(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", [("one", "1")])
    (tmp_path / "b.jsonl").write_text('{"text": "two", "label": 2}\n')
    assert read_labelled_texts(str(tmp_path)).labels == ["1", "2"]
    (tmp_path / "b.jsonl").write_text('{"text": "two", "label": 2.5}\n')
    assert read_labelled_texts(str(tmp_path)).labels == [1.0, 2.5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"text,label\n", "has no rows; give labelled texts below the header"),
        ("t.csv", "text,label\ncafé,x\nthé,".encode() + b"\xff\n", "is not UTF-8 text"),
        ("t.csv", b"text,kind,x\na,b,c\n", "--label_column"),
        ("t.csv", b"text,label\na,x\nb,\n", "row 1 of column 'label' holds '' instead of a label"),
        ("t.csv", b"text,label\na,0.5\nb,nan\n", "row 1 of column 'label' holds 'nan' instead of a number"),
        ("t.csv", b"text,label\na,b,c\n", "quote text that contains the separator"),
        ("t.jsonl", b'{"text": 3, "label": "x"}\n', "row 0 of column 'text' holds 3 instead of text"),
        ("t.jsonl", b'{"text": "a", "label": null}\n', "row 0 of column 'label' holds None instead of a label"),
        ("t.jsonl", b'{"text": "a", "label": " "}\n', "row 0 of column 'label' holds ' ' instead of a label"),
        ("t.jsonl", b'{"text": "a", "label": NaN}\n', "holds nan instead of a number"),
        ("t.jsonl", b'{"text": "a"}\n', "has no column 'label'; its columns are text"),
        ("t.jsonl", b"", "has no rows"),
        ("t.jsonl", b'{"text": "a", "label": ["x"]}\n{"text": "b", "label": "y"}\n', "--label_separator"),
        (
            "t.csv",
            b"text,label\na,0.5\nb,1e300\n",
            "row 1 of column 'label' holds '1e300' instead of a number between",
        ),
        (
            "t.jsonl",
            b'{"text": "a", "label": 0.5}\n{"text": "b", "label": 1%b}\n' % (b"0" * 400),
            "instead of a number",
        ),
        ("t.txt", b"words\n", "has no columns; give a table"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    columns = ("text", "label") if name.endswith("jsonl") else ()
    with pytest.raises(UserError, match=message) as refused:
        read_labelled_texts(str(tmp_path / name), *columns)
    assert str(refused.value).count("\n") == 0


def test_classes_are_sorted_as_numbers_if_all_are() -> None:
    assert class_names(labelled(["10", "9", "10", "-1"])) == ["-1", "9", "10"]
    assert class_names(labelled(["10", "9", "x"])) == ["10", "9", "x"]
    assert class_names(labelled(["10" * 5_000, "9"])) == ["10" * 5_000, "9"]
    assert class_names(labelled([1.5, 2.5], problem_type=REGRESSION)) == ["label"]


def test_labels_become_what_the_losses_take() -> None:
    assert label_array(labelled(["b", "a"]), ["a", "b"]).tolist() == [1, 0]
    assert label_array(labelled([["b"], [], ["a", "b"]], problem_type=MULTI), ["a", "b"]).tolist() == [
        [0, 1],
        [0, 0],
        [1, 1],
    ]
    assert label_array(labelled([1.5, 2.0], problem_type=REGRESSION), ["label"]).tolist() == [[1.5], [2.0]]
    with pytest.raises(UserError, match="the text 'text 1' has the label 'c' in column 'label', which is not among"):
        label_array(labelled(["a", "c"]), ["a", "b"])


@pytest.mark.parametrize("labels", [["x"] * 5, [1.0] * 5, [["x"]] * 5])
def test_a_single_label_is_refused(labels: list) -> None:
    kinds = {str: SINGLE, float: REGRESSION, list: MULTI}
    with pytest.raises(UserError, match="give texts with at least two"):
        check_training(labelled(labels, problem_type=kinds[type(labels[0])]))


def test_too_many_labels_get_a_warning() -> None:
    (sentence,) = check_training(labelled([str(number) for number in range(10_000)] * 1))
    assert "10,000 labels for 10,000 texts (10,000 of them with one text)" in sentence
    (sentence,) = check_training(labelled([*"aaaabbbb", "c"]))
    assert sentence.startswith("1 of the 3 labels have only one text")
    assert check_training(labelled([*"aaaabbbb"])) == []
    (sentence,) = check_training(labelled([0.0, 1.0, 1.0], problem_type=REGRESSION))
    assert "whole numbers if they are classes" in sentence


def test_texts_of_different_labels_in_different_rows_get_a_warning() -> None:
    (sentence,) = check_training(labelled([*"aabb"], ["Hi", "Bye", " Hi", "No"]))
    assert sentence == "train.csv gives equal texts different labels, such as 'Hi' (a, b); 1 in all"
    assert (
        check_training(labelled([["a", "b"], ["b", "a"], ["b"], ["a"]], ["Hi", "Hi", "No", "So"], problem_type=MULTI))
        == []
    )


@pytest.mark.parametrize(
    "names", [("Spam", "spam"), ("caf\u00e9", "cafe\u0301"), ("two words", "two\u00a0words"), ("up", "up\u200b")]
)
def test_labels_that_differ_only_in_spelling_get_a_warning(names: tuple[str, str]) -> None:
    (sentence,) = check_training(labelled([*names, "other"] * 3))
    assert sentence.startswith("train.csv has labels that differ only in spelling")
    assert all(repr(name) in sentence for name in names)


def test_empty_texts_are_left_out_and_shared_ones_counted() -> None:
    data = labelled([*"abc"], ["one", " \n", "two"])
    assert without_empty(data).texts == ["one", "two"]
    assert count_shared(data, labelled([*"ab"], [" one ", "three"])) == 1
    with pytest.raises(UserError, match="are empty"):
        without_empty(labelled(["a"], [" "]))


def test_development_is_a_tenth_in_which_labels_are_as_frequent_and_no_text_is_in_training() -> None:
    labels = ["often"] * 800 + ["sometimes"] * 190 + ["once"] + ["twin"] * 9
    texts = [f"text {number}" for number in range(991)] + ["the same"] * 9
    data = labelled(labels, texts)
    train, development = split_development(data, seed=0)
    assert len(train) + len(development) == 1000
    assert Counter(development.labels) == {"often": 80, "sometimes": 19}
    assert not set(train.texts) & set(development.texts)
    assert split_development(data, seed=0)[1].texts == development.texts
    assert split_development(data, seed=1)[1].texts != development.texts
    assert len(split_development(labelled([*"abcdefgh"] * 1), seed=0)[1]) == 0


def test_development_of_numbers_and_of_several_labels_is_spread_as_well() -> None:
    numbers = np.linspace(0, 1, 200).tolist()
    _, development = split_development(labelled(numbers, problem_type=REGRESSION), seed=0)
    assert np.mean(development.labels) == pytest.approx(0.5, abs=0.05)
    several = [["common", "rare"] if number % 10 == 0 else ["common"] for number in range(200)]
    _, development = split_development(labelled(several, problem_type=MULTI), seed=0)
    assert sum("rare" in own for own in development.labels) == 2


def test_draws_have_so_many_texts_of_each_label() -> None:
    data = labelled([topic for _, topic in topic_rows(100)] + ["scarce"] * 2)
    drawn = draw(data, 8, seed=0)
    assert Counter(drawn.labels) == {"food": 8, "sport": 8, "scarce": 2}
    assert draw(data, 8, seed=0).texts == drawn.texts
    assert draw(data, 8, seed=1).texts != drawn.texts
    with pytest.raises(UserError, match="are numbers"):
        draw(labelled([0.5, 1.5], problem_type=REGRESSION), 8, seed=0)


def test_texts_without_labels_are_read_from_lines_and_tables(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one text\nanother text\n")
    assert read_unlabelled_texts(str(tmp_path / "lines.txt")) == (["one text", "another text"], "")
    table = write_table(tmp_path / "table.csv", [("1", "one text"), ("2", "another text")], "id,message")
    assert read_unlabelled_texts(str(table)) == (["one text", "another text"], "message")
    with pytest.raises(UserError, match="has no column 'body'"):
        read_unlabelled_texts(str(table), "body")


def test_texts_of_a_label_are_set_apart() -> None:
    data = LabelledTexts("x", "text", "label", SINGLE, ["one", "two", "three"], ["a", "none", "b"])
    others, own = split_off_label(data, "none")
    assert (others.texts, others.labels, own) == (["one", "three"], ["a", "b"], ["two"])
    assert split_off_label(data, "") == (data, [])


def test_class_names_of_a_hub_dataset_become_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "one", "label": 1}\n{"text": "two", "label": 0}\n')
    names = "        class_label:\n          names:\n            '0': billing\n            '1': praise\n"
    features = "  - name: text\n    dtype: string\n  - name: label\n    dtype:\n" + names.replace("  ", "  ", 1)
    (folder / "README.md").write_text(f"---\ndataset_info:\n  features:\n{features}---\n")
    monkeypatch.chdir(tmp_path)
    assert read_labelled_texts("hub:owner/name").labels == ["praise", "billing"]


@pytest.mark.parametrize("labels", ["['a', 'b']", '["a", "b"]', "('a', 'b')", "{'a', 'b'}", " [ 'a','b' ] "])
def test_a_list_written_as_text_is_a_list_of_labels(labels: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("one", labels), ("two", "['b']")])
    assert read_labelled_texts(str(path)).labels == [["a", "b"], ["b"]]


def test_labels_in_brackets_that_are_no_lists_stay_as_they_are(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [("one", "[other]"), ("two", "(none)"), ("three", "{x}")])
    assert read_labelled_texts(str(path)).labels == ["[other]", "(none)", "{x}"]


def test_test_texts_are_read_as_the_training_texts_are(tmp_path: Path) -> None:
    rows = [{"text": "one", "labels": [0]}, {"text": "two", "labels": [0, 1, 2]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = read_labelled_texts(str(tmp_path / "train.jsonl"))
    assert train.labels == [["0"], ["0", "1", "2"]]
    (tmp_path / "test.jsonl").write_text('{"labels": [0, 1], "text": "three"}\n')
    assert read_labelled_texts(str(tmp_path / "test.jsonl"), like=train).labels == [["0", "1"]]


def test_code_numbers_are_classes_and_decimal_numbers_are_predicted(tmp_path: Path) -> None:
    for labels, problem_type in (
        (["1.5", "2"], REGRESSION),
        (["1,5", "2"], REGRESSION),
        (["1,500", "2,000"], SINGLE),
        (["007", "1.5"], SINGLE),
        (["1e5", "2e5"], SINGLE),
        (["1", "2"], SINGLE),
    ):
        path = write_table(tmp_path / "t.csv", [(f"text {row}", label) for row, label in enumerate(labels)])
        assert read_labelled_texts(str(path)).problem_type == problem_type, labels
