"""Labelled sets: found in a folder by their file names, read with their splits, and refused with the row named."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import local_sets, read_set


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


@pytest.mark.parametrize("labels", [[0.5, 1.0], [["a"], ["b", "a"]]])
def test_a_set_has_one_class_per_text(labels: list, tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two"], "label": labels}).to_parquet(tmp_path / "A.test.parquet")
    with pytest.raises(UserError, match=r"A\.test\.parquet must have one label per text in column 'label'"):
        read_set(local_sets(tmp_path)["A"])
