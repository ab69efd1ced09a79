"""Labelled sets: found in a folder by their file names, read with their splits, and refused with the row named."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import local_sets, read_labelled, read_set


def test_sets_of_a_folder_are_found_with_their_splits_and_label_columns(tmp_path: Path) -> None:
    def write(name: str, **columns: Sequence[object]) -> None:
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")

    texts = [f"text {number}" for number in range(50)]
    write("A.test", text=texts[:2], label=[1, 0])
    write("A.dev", text=texts[2:4], label=[2, 0])
    write("Two.part.test", text=texts[:2], intent=["set", "get"], scenario=["alarm", "alarm"])
    write("Whole.all", text=texts, label=["odd", "even"] * 25)
    write("other", text=texts)
    sets = local_sets(tmp_path)
    assert sorted(sets) == ["A", "Two.part-intent", "Two.part-scenario", "Whole"]

    data = read_set(sets["A"])
    # The classes are the whole set's; dev is not trained on.
    assert (data.classes, data.test_labels, data.train_texts) == (["0", "1", "2"], ["1", "0"], [])
    assert read_set(sets["A"], max_test_texts=1).classes == ["0", "1", "2"]
    assert read_set(sets["Two.part-scenario"]).test_labels == ["alarm", "alarm"]

    whole, again = read_set(sets["Whole"]), read_set(sets["Whole"])
    assert (len(whole.train_texts), len(whole.test_texts)) == (40, 10)
    assert sorted(whole.train_texts + whole.test_texts) == sorted(texts)
    assert whole == again
    assert whole.test_texts != read_set(sets["Whole"], seed=1).test_texts


def test_a_folder_or_set_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no labelled sets: give a folder with files such as Banking77\.test"):
        local_sets(tmp_path)
    pd.DataFrame({"text": ["a"], "label": ["b"]}).to_parquet(tmp_path / "A.train.parquet")
    with pytest.raises(UserError, match=r"A has no test split; give A\.test\.parquet"):
        read_set(local_sets(tmp_path)["A"])
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "B.train.parquet")
    with pytest.raises(UserError, match="give a column 'label'"):
        local_sets(tmp_path)
    (tmp_path / "B.train.parquet").write_text("no table")
    with pytest.raises(UserError, match=r"B\.train\.parquet cannot be read"):
        local_sets(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}', "has no column 'label'; its columns are text"),
        ('{"text": "a", "label": null}', "row 0 of column 'label' holds None instead of a label"),
        ('{"text": "a", "label": " "}', "row 0 of column 'label' holds ' ' instead of a label"),
        ('{"text": "a", "label": NaN}', "holds nan instead of a label"),
        ('{"text": "a", "label": 0.5}', "holds 0.5 instead of a label"),
        ('{"text": 1, "label": "b"}', "row 0 of column 'text' holds 1 instead of text"),
        ("", "has no rows"),
    ],
)
def test_rows_without_text_or_label_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_labelled(str(file))


def test_labels_of_csv_files_are_strings(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_text("title,class\nNA,1\nb,2\n")
    assert read_labelled(str(file), "title", "class") == (["NA", "b"], ["1", "2"])
