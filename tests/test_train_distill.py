"""train_distill.py as its users run it: a whole run, going on with one, and every kind of wrong input."""

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, TEACHER, RunScript

import train_distill
from asterisk.distillation import read_curves
from modeling_asterisk import AsteriskModel


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_ends_with_a_table_in_which_the_student_stands_between_static_model_and_teacher(small_run: Path) -> None:
    teacher, static, student = json.loads((small_run / "results.json").read_text())
    name = "STS-B captions"
    assert teacher["sts"][name] > student["sts"][name] > 50
    assert teacher["sts"][name] > static["sts"][name] > 50
    assert teacher["dimensions"] == 384
    assert static["dimensions"] == student["dimensions"] == 256
    assert student["parameters"] == sum(
        p.numel() for p in AsteriskModel.from_pretrained(small_run / "model").parameters()
    )
    assert all(line["sentences_per_second"] > 0 and line["bytes"] > 0 for line in (teacher, static, student))
    assert "STS-B captions" in (small_run / "results.md").read_text()


def test_run_leaves_its_curves_as_data_and_as_a_plot(small_run: Path) -> None:
    curves = read_curves(small_run / "curves.jsonl")
    assert curves[-1]["scores"]["agreement"] > curves[0]["scores"]["agreement"]
    assert set(curves[0]) == {"step", "loss", "scores", "learning_rate", "sentences_per_second", "seconds"}
    assert (small_run / "curves.png").stat().st_size > 10_000
    assert json.loads((small_run / "run.json").read_text())["recipe"]["teacher"] == TEACHER


def test_resuming_a_finished_run_changes_nothing_in_its_model(small_run: Path, run_script: RunScript) -> None:
    before = AsteriskModel.from_pretrained(small_run / "model").encode("A man is playing a guitar.")
    flags = ["--config", "recipes/demo.yaml", "--corpus", small_run.parent / "texts.txt", "--output_dir", small_run]
    result = run_script("train_distill.py", *flags, "--batch_size=64", "--num_epochs=2", "--eval_steps=50", "--resume")
    assert result.returncode == 0, result.stderr
    after = AsteriskModel.from_pretrained(small_run / "model").encode("A man is playing a guitar.")
    np.testing.assert_array_equal(before, after)


def test_wrong_input_gets_one_sentence_and_status_2_and_leaves_nothing(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(flags: dict[str, object]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train_distill.py", *map(str, itertools.chain(*flags.items()))])
        try:
            train_distill.main()
        except SystemExit as exit:
            return int(exit.code or 0), capsys.readouterr().err.strip().splitlines()[-1]
        return 0, ""

    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "texts.txt").write_text("One apple.\nTwo pears.\n" * 3)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text(" \n\n\t\n")
    (tmp_path / "bad.yaml").write_text("teachers: none\n")
    (tmp_path / "teacher").mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path / "teacher" / "config.json")
    output = tmp_path / "out"
    good = {"--corpus": tmp_path / "texts.txt", "--teacher": TEACHER, "--output_dir": output}
    cases: list[tuple[dict[str, object], str]] = [
        ({"--corpus": tmp_path / "missing.txt"}, "There is no file"),
        ({"--corpus": tmp_path / "empty.txt"}, "no sentence to train on"),
        ({"--corpus": tmp_path / "blank.txt"}, "3 blank"),
        ({"--teacher": tmp_path / "teacher"}, "holds no weights"),
        ({"--config": tmp_path / "bad.yaml"}, "unknown field 'teachers'"),
        ({"--output_dir": small_run}, "holds a run already"),
        ({"--output_dir": tmp_path / "teacher"}, "is not empty and holds no run"),
        ({"--num_attention_heads": 3}, "num_attention_heads must divide"),
        ({"--sts_test": "recipes/sts_captions/test.jsonl"}, "--sts_test takes NAME=FILE"),
        ({"--sts_test": f"mine={tmp_path / 'none.parquet'}"}, "There is no file"),
        ({"--corpus": tmp_path / "texts.txt", "--batch_size": 256}, "fewer than one batch"),
    ]
    before = snapshot(small_run), snapshot(tmp_path)
    for change, message in cases:
        status, last = run({**good, **change})
        assert status == 2, change
        assert last.startswith("error: "), change
        assert message in last, change
        if "fewer than one batch" not in message:  # found out only when the store is there, which is kept
            assert (snapshot(small_run), snapshot(tmp_path)) == before, change
            assert not output.exists(), change
    assert run({**good, "--batch_size": 1}) == (0, "")


def test_help_teaches(run_script: RunScript) -> None:
    result = run_script("train_distill.py", "--help")
    assert result.returncode == 0
    assert "python train_distill.py --config recipes/demo.yaml" in result.stdout
    assert "peak learning rate of AdamW (default: 0.002)" in " ".join(result.stdout.split())
