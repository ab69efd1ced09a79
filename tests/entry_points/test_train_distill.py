"""train_distill.py as its users run it: a whole run, going on with one, and every kind of wrong input."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from model2vec import StaticModel

import train_distill
from asterisk.core.files import MANIFEST
from asterisk.distillation.curves import read_curves
from asterisk.teachers.store import EmbeddingStore
from modeling_asterisk import AsteriskModel
from tests.support.flags import SMALL_STS, small_run_flags
from tests.support.mounting import read_only
from tests.support.paths import REPOSITORY, TEACHER
from tests.support.programs import run_here

Distil = Callable[[dict[str, object]], tuple[int, str]]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_ends_with_a_table_in_which_the_student_stands_between_static_model_and_teacher(small_run: Path) -> None:
    teacher, static, student = json.loads((small_run / "results.json").read_text())
    name = SMALL_STS
    assert teacher["sts"][name] > student["sts"][name] > 50
    assert teacher["sts"][name] > static["sts"][name] > 50
    assert teacher["dimensions"] == 384
    assert static["dimensions"] == student["dimensions"] == 256
    assert student["parameters"] == sum(
        p.numel() for p in AsteriskModel.from_pretrained(small_run / "model").parameters()
    )
    assert all(line["sentences_per_second"] > 0 and line["bytes"] > 0 for line in (teacher, static, student))
    assert SMALL_STS in (small_run / "results.md").read_text()


def test_run_leaves_its_curves_as_data_and_as_a_plot(small_run: Path, small_material: Path) -> None:
    curves = read_curves(small_run / "curves.jsonl")
    assert curves[-1]["scores"]["agreement"] > curves[0]["scores"]["agreement"]
    assert set(curves[0]) == {"step", "loss", "scores", "learning_rate", "sentences_per_second", "seconds"}
    assert (small_run / "curves.png").stat().st_size > 10_000
    assert json.loads((small_run / "run.json").read_text())["recipe"]["teacher"] == str(small_material / "teacher")


def test_run_ends_with_a_report_on_how_far_student_and_teacher_agree(small_run: Path) -> None:
    report = json.loads((small_run / "report" / "report.json").read_text())
    (kept,) = report["retention"]
    teacher, _, student = json.loads((small_run / "results.json").read_text())
    assert kept["retention"] == pytest.approx(student["sts"][SMALL_STS] / teacher["sts"][SMALL_STS])
    assert kept["low"] < kept["retention"] < kept["high"]
    last = read_curves(small_run / "curves.jsonl")[-1]["scores"]["agreement"]
    # Measured in training, perhaps in bfloat16, and again on what was saved.
    assert report["agreement"]["cosines"]["mean"] == pytest.approx(last, abs=0.01)
    assert "Texts that differ most" in (small_run / "report" / "report.html").read_text()


pytestmark = pytest.mark.slow


@pytest.fixture
def distil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Distil:
    """Runs train_distill.py in this process; gives its exit status and what it said on stderr."""
    monkeypatch.chdir(REPOSITORY)

    def run(flags: dict[str, object]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train_distill.py", *map(str, itertools.chain(*flags.items()))])
        capsys.readouterr()
        try:
            train_distill.main()
        except SystemExit as exit:
            return int(exit.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def test_resuming_a_finished_run_changes_nothing_in_its_model(
    small_run: Path, small_material: Path, tmp_path: Path, distil: Distil
) -> None:
    # Other tests read the shared run at the same time.
    run = shutil.copytree(small_run, tmp_path / "run")
    before = (run / "model" / "model.safetensors").read_bytes()
    # As if it had been killed between the model and the plot.
    (run / "curves.png").unlink()
    flags = small_run_flags(small_material, run)
    assert distil({**flags, "--resume": True})[0] == 0
    assert (run / "model" / "model.safetensors").read_bytes() == before
    assert (run / "curves.png").exists()


TINY: dict[str, object] = {
    "--hidden_size": 32,
    "--num_hidden_layers": 1,
    "--intermediate_size": 32,
    "--projection_dim": 16,
}
TINY |= {"--tokenizer": "trained:300", "--table": "random", "--batch_size": 8, "--num_epochs": 1, "--heldout": 8}


def test_two_teachers_labels_and_exits_give_a_model_for_every_depth(
    distil: Distil, sentences: list[str], tmp_path: Path
) -> None:
    texts = sentences[:120]
    vectors = np.random.default_rng(0).normal(size=(120, 24)).astype(np.float32)
    second = pd.DataFrame({"text": texts, "vector": list(vectors)})
    second.to_parquet(tmp_path / "second.parquet")
    rows = [{"text": text, "label": ["a", "b", "c"][index % 3]} for index, text in enumerate(texts[:60])]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(
        f"weight: 0.1\ntables: [{{file: {tmp_path}/labels.jsonl, labels: label, groups: {{first: [a], last: [c]}}}}]"
    )
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    flags = {**TINY, "--corpus": tmp_path / "texts.txt", "--teacher": TEACHER, "--projection_dim": 0}
    flags |= {"--more_teachers": f"vectors:{tmp_path}/second.parquet#vector", "--relation_weight": 0.3}
    flags |= {"--label_tasks": tmp_path / "task.yaml", "--label_batch_size": 16, "--exit_layers": 0}
    status, errors = distil({**flags, "--exclude": "none", "--output_dir": tmp_path / "run"})
    assert status == 0, errors
    model = AsteriskModel.from_pretrained(tmp_path / "run" / "model")
    assert [tuple(pair) for pair in model.config.teacher_spaces or ()] == [
        ("all-MiniLM-L6-v2", 384),
        ("second.parquet#vector", 24),
    ]
    assert model.encode(texts[:2], space="second.parquet#vector").shape == (2, 24)

    # The same command with one teacher and other weights goes on from it.
    flags = {"--encoder": tmp_path / "run" / "model", "--corpus": tmp_path / "texts.txt", "--teacher": TEACHER}
    flags |= {"--batch_size": 8, "--heldout": 8, "--max_steps": 2, "--exclude": "none"}
    status, errors = distil({**flags, "--start_weight": 0.999, "--output_dir": tmp_path / "further"})
    assert status == 0, errors
    further = AsteriskModel.from_pretrained(tmp_path / "further" / "model")
    assert further.config.exit_layers == [0]
    # Nearly the whole weight is the start's.
    for name, weight in model.named_parameters():
        torch.testing.assert_close(dict(further.named_parameters())[name], weight, atol=1e-4, rtol=1e-3)

    # The exit at depth 0 is published as a static model.
    result = run_here("publish.py", tmp_path / "run" / "model", "--output_dir", tmp_path / "static", "--layers", "0")
    assert result.returncode == 0, result.stderr
    static = StaticModel.from_pretrained(str(tmp_path / "static"))
    np.testing.assert_allclose(static.encode(texts), model.truncated(0).encode(texts), atol=1e-5)
    result = run_here("publish.py", tmp_path / "run" / "model", "--output_dir", tmp_path / "none", "--layers", "5")
    assert result.returncode == 2
    assert "no exit at depth 5; its depths are 0, 1" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"--more_teachers": "x", "--teacher_weights": 1}, "--teacher_weights must be 2 numbers above 0"),
        ({"--exit_layers": 4}, "exit_layers must lie between 0 and 1"),
        ({"--label_tasks": "nowhere.yaml"}, "There is no label task nowhere.yaml"),
        ({"--start_weight": 0.3}, "--start_weight needs an --encoder"),
        ({"--learning_rate": -1}, "--learning_rate must be above 0, not -1.0"),
        ({"--relation_weight": -1}, "--relation_weight must be at least 0, not -1.0"),
        ({"--exit_layers": 0, "--exit_weights": "-1"}, "--exit_weights must be at least 0, not [-1.0]"),
        ({"--exit_weights": 1}, "exit_weights must be 0 numbers, one for each exit, not [1.0]"),
        ({"--matryoshka_dims": 256}, "matryoshka_dims must lie between 1 and 255, not 256"),
    ],
)
def test_wrong_objectives_are_refused_before_anything_is_written(
    distil: Distil, tmp_path: Path, flags: dict[str, object], message: str
) -> None:
    (tmp_path / "texts.txt").write_text("One.\nTwo.\n", encoding="utf-8")
    common = {"--corpus": tmp_path / "texts.txt", "--teacher": TEACHER, "--output_dir": tmp_path / "run"}
    status, errors = distil({**common, **flags})
    assert status == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


def test_store_may_lie_at_a_url_and_benchmarks_that_are_measured_are_left_out(
    distil: Distil, small_material: Path, sentences: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "texts.txt").write_text("\n".join(sentences[:100]), encoding="utf-8")
    rows = [{"sentence1": sentences[n], "sentence2": sentences[n + 1], "score": n} for n in range(0, 6, 2)]
    (tmp_path / "sts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    common = {"--corpus": tmp_path / "texts.txt", "--teacher": small_material / "teacher", **TINY}
    stores = {"memory": f"memory://bucket/{tmp_path.name}", "file": f"file://{tmp_path}/store"}
    for name, url in stores.items():
        flags = {**common, "--output_dir": tmp_path / name, "--store_dir": url}
        status, errors = distil({**flags, "--sts_dev": f"mine={tmp_path / 'sts.jsonl'}"})
        assert (status, "warning" in errors) == (0, False), errors
        store = EmbeddingStore(url)
        assert not {row[side] for row in rows for side in ("sentence1", "sentence2")} & set(
            store.texts(range(len(store)))
        )
    assert json.loads((tmp_path / "store" / "corpus" / MANIFEST).read_text())["counts"]["in a benchmark"] == 6
    # From here on nobody may write to it; another benchmark comes too late to be left out of it.
    (tmp_path / "late.jsonl").write_text((tmp_path / "sts.jsonl").read_text() + "\n", encoding="utf-8")
    with read_only(tmp_path / "store"):
        flags = {**common, "--output_dir": tmp_path / "third", "--store_dir": tmp_path / "store", "--simcse_weight": 1}
        status, errors = distil({**flags, "--sts_test": f"mine={tmp_path / 'late.jsonl'}"})
    assert status == 0, errors
    warnings = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2, errors
    assert "late.jsonl, because it was built without these benchmarks" in warnings[0]
    assert "this student has no dropout; set --dropout 0.1" in warnings[1]


def test_wrong_input_gets_one_sentence_and_status_2_and_leaves_nothing(
    small_run: Path, tmp_path: Path, distil: Distil
) -> None:
    (tmp_path / "texts.txt").write_text("One apple.\nTwo pears.\n" * 3)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text(" \n\n\t\n")
    (tmp_path / "bad.yaml").write_text("teachers: none\n")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text('{"seed": 1}')
    (tmp_path / "teacher").mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path / "teacher" / "config.json")
    # Vectors are there at once, where a model takes a second to load.
    np.save(tmp_path / "vectors.npy", np.ones((2, 4)))
    (tmp_path / "vectors.txt").write_text("One apple.\nTwo pears.\n")
    vectors = f"vectors:{tmp_path / 'vectors.npy'}"
    output = tmp_path / "out"
    good = {
        "--corpus": tmp_path / "texts.txt",
        "--teacher": vectors,
        "--tokenizer": "trained:300",
        "--table": "random",
        "--output_dir": output,
    }
    cases: list[tuple[dict[str, object], str]] = [
        ({"--corpus": tmp_path / "missing.txt"}, "There is no file"),
        ({"--corpus": tmp_path / "empty.txt"}, "no sentence to train on"),
        ({"--corpus": tmp_path / "blank.txt"}, "3 blank"),
        ({"--teacher": tmp_path / "teacher"}, "holds no weights"),
        ({"--config": tmp_path / "bad.yaml"}, "unknown field 'teachers'"),
        ({"--output_dir": small_run}, "already holds a run"),
        ({"--output_dir": tmp_path / "teacher"}, "is not empty and holds no run"),
        ({"--output_dir": tmp_path / "damaged", "--resume": True}, "run.json is not the record of a run"),
        ({"--num_attention_heads": 3}, "num_attention_heads must divide"),
        ({"--sts_test": "recipes/sts_captions/test.jsonl"}, "take NAME=FILE"),
        ({"--sts_test": f"mine={tmp_path / 'none.parquet'}"}, "There is no file"),
        ({"--teacher": TEACHER, "--batch_size": 256}, "fewer than one batch"),
    ]
    before = snapshot(small_run), snapshot(tmp_path)
    for change, message in cases:
        status, errors = distil({**good, **change})
        last = errors.strip().splitlines()[-1]
        assert status == 2, change
        assert last.startswith("error: "), change
        assert message in last, change
        if "fewer than one batch" not in message:  # found out only when the store is there, which is kept
            assert (snapshot(small_run), snapshot(tmp_path)) == before, change
            assert not output.exists(), change
    assert distil({**good, "--teacher": TEACHER, "--batch_size": 1})[0] == 0


def test_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train_distill.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        train_distill.main()
    shown = capsys.readouterr().out
    assert "python train_distill.py --config recipes/demo.yaml" in shown
    assert "peak learning rate of AdamW (default: 0.002)" in " ".join(shown.split())
