"""Label tasks: tables are read, labels grouped, texts drawn in batches."""

import json
from pathlib import Path

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.distillation.label_tasks import read_label_tasks
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher

ROWS = [
    {"text": "I love it", "labels": ["love", "joy"], "valence": 4.5},
    {"text": "I hate it", "labels": ["anger"], "valence": 1.5},
    {"text": "It is  a box", "labels": ["neutral"], "valence": 3.0},
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def task(folder: Path, text: str, name: str = "task.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_labels_are_grouped_and_others_are_known_without_a_group(table: Path, tmp_path: Path) -> None:
    text = f"weight: 0.5\ntables:\n  - {{file: {table}, labels: labels, groups: {{good: [love, joy], bad: [anger]}}}}"
    labelled = read_label_tasks([task(tmp_path, text)])
    assert labelled.texts == ["I love it", "I hate it", "It is a box"]
    assert labelled.tasks[0].weight == 0.5
    assert labelled.tasks[0].known.all()
    assert labelled.tasks[0].groups.tolist() == [[False, True], [True, False], [False, False]]


def test_without_groups_each_label_is_one(table: Path, tmp_path: Path) -> None:
    labelled = read_label_tasks([task(tmp_path, f"tables: [{{file: {table}, labels: labels}}]")])
    assert labelled.tasks[0].groups.sum(axis=1).tolist() == [2, 1, 1]


def test_numbers_are_grouped_by_ranges_or_ordered(table: Path, tmp_path: Path) -> None:
    ranges = task(tmp_path, f"tables: [{{file: {table}, number: valence, groups: {{good: [3.3, 5]}}}}]", "a.yaml")
    order = task(tmp_path, f"tables: [{{file: {table}, number: valence}}]", "b.yaml")
    labelled = read_label_tasks([ranges, order])
    assert len(labelled) == 3
    assert labelled.tasks[0].groups.tolist() == [[True], [False], [False]]
    assert labelled.tasks[1].numbers.tolist() == [4.5, 1.5, 3.0]
    assert not labelled.tasks[1].known.any()


def test_selected_texts_keep_their_groups(table: Path, tmp_path: Path) -> None:
    labelled = read_label_tasks([task(tmp_path, f"tables: [{{file: {table}, labels: labels}}]")])
    kept = labelled.place(np.array([-1, 7, 3]))
    assert kept.rows.tolist() == [7, 3]
    assert kept.texts == ["I hate it", "It is a box"]
    assert kept.tasks[0].groups.tolist() == labelled.tasks[0].groups[1:].tolist()


def test_batches_are_padded_and_masked(table: Path, tmp_path: Path, teacher: SentenceTransformerTeacher) -> None:
    labelled = read_label_tasks([task(tmp_path, f"tables: [{{file: {table}, labels: labels}}]")])
    labelled.tokenize(student_tokenizer(teacher, 64), 64)
    ids, mask = labelled.padded(np.array([0, 2]))
    assert ids.shape == mask.shape
    assert mask.sum(dim=1).tolist() == [len(labelled.token_ids[0]), len(labelled.token_ids[2])]
    assert sorted(np.concatenate([labelled.batch(1, 0, turn) for turn in range(3)])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tables: [3", "is not YAML"),
        ("tables: []", "must hold tables, a list"),
        ("weight: much\ntables: [{file: TABLE, labels: labels}]", "weight must be a number above 0, not 'much'"),
        ("stretch: -1\ntables: [{file: TABLE, labels: labels}]", "stretch must be a number of at least 0, not -1"),
        ("tables: [{labels: labels}]", "either labels or number"),
        ("tables: [{file: TABLE, text: valence, labels: labels}]", r"holds 4\.5 instead of text"),
        ("tables: 3", "must hold tables, a list"),
        ("tables: [{file: TABLE}]", "either labels or number"),
        ("tables: [{file: TABLE, labels: labels, colour: red}]", "either labels or number"),
        ("tables: [{file: TABLE, labels: labels, groups: {good: [lovee]}}]", "has no label 'lovee'"),
        ("tables: [{file: TABLE, labels: labels, groups: [good]}]", "groups must be lists of labels"),
        ("tables: [{file: TABLE, labels: labels, groups: {good: joy}}]", "groups must be lists of labels"),
        (
            "tables: [{file: TABLE, labels: labels, groups: {good: [joy], glad: [joy]}}]",
            "'joy' is in the groups good and glad",
        ),
        ("tables: [{file: TABLE, labels: valence}]", "row 0 of column 'valence' holds 4.5, a number; name the column"),
        ("tables: [{file: TABLE, number: valence, groups: {good: [5, 3]}}]", "ranges, low to high"),
        ("tables: [{file: TABLE, number: valence, groups: {good: 3}}]", "groups of numbers must be ranges"),
        ("tables: [{file: TABLE, number: labels}]", "instead of a number"),
        ("tables: [{file: TABLE, number: valence, groups: {all: [0, 9]}}]", "but all texts are in all"),
        ("tables: [{file: TABLE, number: valence, groups: {none: [8, 9]}}]", "but all texts are in no group"),
    ],
)
def test_wrong_task_is_refused_in_a_sentence(table: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_label_tasks([task(tmp_path, text.replace("TABLE", str(table)))])


def test_tables_are_read_as_those_of_heads(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text,labels,valence\nI love it,\"['love', 'joy']\",4.5\nI hate it,['anger'],1\n")
    labelled = read_label_tasks([task(tmp_path, f"tables: [{{file: {path}, labels: labels}}]")])
    assert labelled.tasks[0].groups.tolist() == [[False, True, True], [True, False, False]]
    labelled = read_label_tasks([task(tmp_path, f"tables: [{{file: {path}, number: valence}}]")])
    assert labelled.tasks[0].numbers.tolist() == [4.5, 1.0]
    for labels, message in (("null", "holds None instead of a label"), ("[0, 1, 0]", "a vector of zeros and ones")):
        path = tmp_path / "table.jsonl"
        path.write_text(f'{{"text": "I love it", "labels": {labels}}}\n')
        with pytest.raises(UserError, match=f"row 0 of column 'labels' .*{message}"):
            read_label_tasks([task(tmp_path, f"tables: [{{file: {path}, labels: labels}}]")])


def test_missing_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no label task .*nowhere\.yaml"):
        read_label_tasks([str(tmp_path / "nowhere.yaml")])
