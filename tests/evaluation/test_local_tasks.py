"""Local files feed MTEB's task classes, and bear MTEB's names only if the data is MTEB's."""

from pathlib import Path

import mteb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asterisk.core.errors import UserError
from asterisk.evaluation.local_tasks import LOCAL_TASKS
from asterisk.evaluation.tasks import find_tasks, group_members
from tests.support.paths import REPOSITORY

DATA = REPOSITORY.parent / "shared" / "data" / "eval"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")


@pytest.mark.slow
def test_only_tasks_with_mtebs_data_have_mtebs_names() -> None:
    known = {task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)}
    for row in LOCAL_TASKS:
        assert (row.name in known) == row.is_mteb, row.name
        assert row.remark or row.is_mteb, f"{row.name} needs a remark"


@pytest.mark.slow
def test_groups_are_those_of_the_papers() -> None:
    local, hub = group_members(local=True), group_members(local=False)
    assert local["sts5"] == hub["sts5"] == ["STS12", "STS13", "STS14", "STS15", "STSBenchmark"]
    assert local["sts7"] == [*local["sts5"], "STS16", "SICK-R (test)"]
    assert hub["sts7"] == [*local["sts5"], "STS16", "SICK-R"]
    assert len(hub["MTEB(eng, v2)"]) == 41
    assert len(hub["classification"]) == 8


def test_names_groups_and_benchmarks_can_be_mixed_without_repeats() -> None:
    names = [task.name for task in find_tasks("sts5, Banking77Classification,STS12")]
    assert names == ["STS12", "STS13", "STS14", "STS15", "STSBenchmark", "Banking77Classification"]
    assert len(find_tasks("MTEB(eng, v2),STS16")) == 42
    # As in the benchmark, not in all 51 languages.
    assert find_tasks("MassiveIntentClassification")[0].task.hf_subsets == ["en"]


@needs_data
def test_every_local_task_has_its_files_and_columns() -> None:
    found = find_tasks(",".join(row.name for row in LOCAL_TASKS), str(DATA))
    assert [task.name for task in found] == [row.name for row in LOCAL_TASKS]


@needs_data
def test_sick_r_is_all_pairs_under_mtebs_name_and_the_test_pairs_under_another() -> None:
    for name, rows in (("SICK-R", 9_927), ("SICK-R (test)", 4_927), ("SICK-R:dev", 500)):
        (task,) = find_tasks(name, str(DATA))
        task.load()
        assert len(task.task.dataset["test"]) == rows  # type: ignore[index]


@needs_data
def test_classification_keeps_mtebs_protocol() -> None:
    (task,) = find_tasks("AmazonCounterfactualClassification", str(DATA))
    task.load()
    assert (task.task.samples_per_label, task.task.n_experiments) == (32, 10)  # type: ignore[attr-defined]
    splits = task.task.dataset["en"]  # type: ignore[index]
    assert {name: len(split) for name, split in splits.items()} == {"train": 4_018, "test": 670}
    # The counterfactual sentences, the fewer, are class 1.
    assert sum(splits["test"]["label"]) == 131


@needs_data
def test_dev_is_another_task_than_test() -> None:
    (dev,), (test,) = (find_tasks(name, str(DATA)) for name in ("STSBenchmark:dev", "STSBenchmark"))
    assert (dev.name, dev.files) == ("STSBenchmark (dev)", ["sts/STSBenchmark.dev.parquet"])
    assert dev.task.metadata.revision != test.task.metadata.revision


def sts_folder(folder: Path, **columns: list) -> str:
    (folder / "sts").mkdir()
    pq.write_table(pa.table(columns), folder / "sts" / "STS16.test.parquet")
    return str(folder)


def test_unknown_tasks_and_missing_files_are_refused(tmp_path: Path) -> None:
    for names, data, message in (
        ("STS99", None, "MTEB has no task 'STS99'; did you mean"),
        (" , ", None, "names no task"),
        ("STS16", "nowhere", "There is no data folder nowhere"),
        ("STS166", str(tmp_path), "no local task 'STS166'; did you mean 'STS16'"),
        ("STS12:dev", str(tmp_path), "STS12 has no part 'dev'"),
        ("MTEB(eng, v2)", str(tmp_path), "Local files hold only some of the tasks of MTEB"),
        ("STS16", str(tmp_path), r"no file .*STS16\.test\.parquet, which the task STS16 needs"),
    ):
        with pytest.raises(UserError, match=message):
            find_tasks(names, data)


def test_a_file_without_a_column_or_value_is_refused(tmp_path: Path) -> None:
    folder = sts_folder(tmp_path, sentence1=["a", "b"], sentence2=["c", "d"], grade=[1.0, 2.0])
    with pytest.raises(UserError, match="has no column 'score', which the task STS16 needs"):
        find_tasks("STS16", folder)
    table = {"sentence1": ["a", "b"], "sentence2": ["c", None], "score": [1.0, 2.0]}
    pq.write_table(pa.table(table), tmp_path / "sts" / "STS16.test.parquet")
    (task,) = find_tasks("STS16", folder)
    with pytest.raises(UserError, match="row 1 has no 'sentence2'"):
        task.load()
    (tmp_path / "sts" / "STS16.test.parquet").write_text("no table")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        find_tasks("STS16", folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentence1": [1, 2]}, "row 0 of column 'sentence1' holds 1 instead of text"),
        ({"score": ["1", "x"]}, "row 1 of column 'score' holds 'x' instead of a finite number"),
        ({"score": [1.0, 1.0]}, "at least two pairs with different scores"),
        ({"sentence1": [], "sentence2": [], "score": []}, "has no rows"),
    ],
)
def test_pairs_of_other_kinds_are_refused(changes: dict, message: str, tmp_path: Path) -> None:
    columns: dict[str, list] = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, 2.0], **changes}
    folder = sts_folder(tmp_path, **columns)
    (task,) = find_tasks("STS16", folder)
    with pytest.raises(UserError, match=message):
        task.load()


def test_labels_of_pairs_are_numbers_of_any_type(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    for labels in ([1, 0], [True, False], [1.0, 0.0], ["1", "0"]):
        table = pa.table({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": labels})
        pq.write_table(table, tmp_path / "pairs" / "MRPC.test.parquet")
        (task,) = find_tasks("MRPC", str(tmp_path))
        task.load()
        assert task.task.dataset["test"]["label"][:] == [1, 0]  # type: ignore[index]
    pq.write_table(table.set_column(2, "label", [["same", "other"]]), tmp_path / "pairs" / "MRPC.test.parquet")
    (task,) = find_tasks("MRPC", str(tmp_path))
    with pytest.raises(UserError, match=r"MRPC has the labels 0, 1, but .* also has '(same|other)'"):
        task.load()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["x"], ["y"]], r"row 0 of column 'label' holds \['x'\] instead of a label"),
        ([0, 1], "The labels of EmotionClassification in .* are words and numbers"),
    ],
)
def test_labels_of_other_kinds_are_refused(labels: list, message: str, tmp_path: Path) -> None:
    (tmp_path / "classification").mkdir()
    for split, column in (("train", ["x", "y"]), ("test", labels)):
        table = pa.table({"text": ["a", "b"], "label": column})
        pq.write_table(table, tmp_path / "classification" / f"Emotion.{split}.parquet")
    (task,) = find_tasks("EmotionClassification", str(tmp_path))
    with pytest.raises(UserError, match=message):
        task.load()
