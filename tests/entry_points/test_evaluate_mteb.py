"""The command that measures: scores, means, retention; resumed after a stop; one sentence for what is wrong."""

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr

import evaluate_mteb
from asterisk.evaluation.mteb_runner import ModelScores, run_tasks, score_ratios, summary, summary_table
from asterisk.evaluation.tasks import EvaluationTask, find_tasks, group_members
from asterisk.models.checkpoints import save_student
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from asterisk.models.tokenizers import portable_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import REPOSITORY, TEACHER
from tests.support.programs import run_here

DATA = REPOSITORY.parent / "shared" / "data" / "eval"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")]


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the first rows of some benchmarks."""
    folder = tmp_path_factory.mktemp("data")
    rows = dict.fromkeys(
        ("sts/STS13.test", "sts/STS16.test", "pairs/MRPC.test", "pairs/SNLI.test", "pairs/QuoraPairs.dev"), 100
    )
    for name, count in {
        **rows,
        "sts/STSBenchmark.test": 200,
        "classification/Emotion.train": 200,
        "classification/Emotion.test": 50,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(pq.read_table(DATA / f"{name}.parquet").slice(0, count), folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, teacher: SentenceTransformerTeacher) -> Path:
    """A small untrained Asterisk."""
    torch.manual_seed(0)
    tokenizer = portable_tokenizer(teacher.tokenizer, 32)
    config = AsteriskConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_student(AsteriskModel(config), tokenizer, folder)
    return folder


def run(encoder: TextEncoder, tasks: list[EvaluationTask], folder: Path) -> ModelScores:
    scores = ModelScores.of(encoder.spec, encoder)
    scores.tasks.update(run_tasks(encoder, tasks, folder))
    return scores


def test_sts_score_is_the_spearman_correlation_of_the_cosines(model: Path, small_data: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(model))
    scores = run(encoder, find_tasks("STS16", str(small_data)), tmp_path).scores
    pairs = pq.read_table(small_data / "sts" / "STS16.test.parquet").to_pydict()
    cosines = (encoder.encode(pairs["sentence1"]) * encoder.encode(pairs["sentence2"])).sum(axis=1)
    assert scores["STS16"] == pytest.approx(spearmanr(cosines, pairs["score"]).statistic * 100, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    # The teacher's published scores lie within these bounds; a task whose data is read wrongly does not.
    [
        ("BIOSSES (original)", 81.0, 81.7),
        ("AmazonCounterfactualClassification", 45, 80),
        ("QuoraPairs (dev)", 70, 100),
    ],
)
def test_the_teacher_gets_what_it_should(name: str, low: float, high: float, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for file in find_tasks(name, str(DATA))[0].files:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pq.read_table(DATA / file).slice(0, 300), data / file)
    scores = run(load_encoder(TEACHER), find_tasks(name, str(data)), tmp_path).scores
    assert low <= scores[name] <= high


def test_finished_tasks_are_not_run_again_and_models_never_mixed_up(
    model: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = find_tasks("STS13,STS16", str(small_data))
    encoder, short = load_encoder(str(model)), load_encoder(str(model), truncate_dim=4)
    first = run(encoder, tasks[:1], tmp_path).scores
    # A run that was stopped while MTEB wrote.
    (half_written,) = tmp_path.glob("results/*/*/STS13.json")
    broken = shutil.copy(half_written, half_written.with_name("STS16.json"))
    Path(broken).write_text(half_written.read_text()[:100])
    both = run(encoder, tasks, tmp_path).scores
    assert both["STS13"] == first["STS13"]
    assert run(short, tasks, tmp_path).scores["STS13"] != both["STS13"]

    def never(*_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("computed again")

    monkeypatch.setattr(TextEncoder, "encode", never)
    again = run(encoder, find_tasks("STS13,STS16", str(small_data)), tmp_path).scores
    assert again == pytest.approx(both, abs=1e-3)


def test_changed_data_is_run_again(model: Path, small_data: Path, tmp_path: Path) -> None:
    data = shutil.copytree(small_data, tmp_path / "data")
    encoder = load_encoder(str(model))
    before = run(encoder, find_tasks("STS16", str(data)), tmp_path).scores
    file = data / "sts" / "STS16.test.parquet"
    pq.write_table(pq.read_table(file).slice(0, 50), file)
    assert run(encoder, find_tasks("STS16", str(data)), tmp_path).scores != before


def test_nothing_touches_the_network(
    model: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: reached.append(address))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for spec in (str(model), TEACHER):
        run(load_encoder(spec, local_files_only=True), find_tasks("STS13", str(small_data)), tmp_path)
    assert reached == []


def test_a_mean_is_given_only_for_a_whole_group(model: Path, small_data: Path, tmp_path: Path) -> None:
    tasks = find_tasks("pairs,STS16", str(small_data))
    groups = group_members(local=True)
    encoder = load_encoder(str(model))
    own, other = run(encoder, tasks, tmp_path), run(load_encoder(str(model), truncate_dim=4), tasks, tmp_path)
    means = own.means(groups)
    assert set(means) == {"pairs"}
    assert means["pairs"] == pytest.approx(np.mean([own.scores[name] for name in groups["pairs"]]))
    kept = score_ratios(own, other, groups)
    assert kept["STS16"] == pytest.approx(own.scores["STS16"] / other.scores["STS16"])
    assert set(kept) == {*own.scores, "pairs"}
    table = summary_table([own, other], tasks, groups)
    assert f"{own.scores['MRPC']:.2f}" in table
    assert "**mean of pairs**" in table
    assert "SNLI: entailment against the rest" in table
    about = summary([own, other], tasks, groups, {})["tasks"]["SNLI"]
    assert (about["source"], about["mteb"], about["files"]) == ("local", False, ["pairs/SNLI.test.parquet"])


def test_command_writes_summary_and_table_beside_baselines(model: Path, small_data: Path, tmp_path: Path) -> None:
    result = run_here(
        "evaluate_mteb.py",
        *("--model", model, "--baseline", TEACHER, "--baseline", model),
        *("--tasks", "STS13,STS16", "--truncate_dim", "8"),
        *("--data_dir", small_data, "--output_dir", tmp_path / "out"),
    )
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(written["scores"]) == {"STS13", "STS16"}
    baseline, untruncated = written["baselines"]
    assert [each["dimension"] for each in (written["model"], baseline, untruncated)] == [8, 384, 16]
    assert baseline["scores"]["STS13"] > written["scores"]["STS13"]
    assert written["retention"]["STS13"] == pytest.approx(written["scores"]["STS13"] / baseline["scores"]["STS13"])
    table = (tmp_path / "out" / "summary.md").read_text()
    assert table in result.stdout
    assert f"{written['retention']['STS16']:.1%}" in table


def test_command_classifies_and_reports(model: Path, small_data: Path, tmp_path: Path) -> None:
    # A teacher would be timed at length; the test above has one.
    whole = shutil.copytree(model, tmp_path / "whole")
    result = run_here(
        "evaluate_mteb.py",
        *("--model", model, "--truncate_dim", "8", "--baseline", whole, "--tasks", "STS16", "--report"),
        *("--zero_shot", "--few_shot", "4", "--sets", "Emotion"),
        *("--data_dir", small_data, "--output_dir", tmp_path / "out"),
    )
    assert result.returncode == 0, result.stderr
    lines = json.loads((tmp_path / "out" / "classification.json").read_text())
    assert {line["setting"] for line in lines} == {"zero-shot", "linear probe", "few-shot 4"}
    # Shares are of the baseline's accuracy.
    assert [line["retention"] for line in lines[::2]] == [1.0] * 3
    assert (tmp_path / "out" / "classification.md").read_text() in result.stdout
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    (kept,) = report["retention"]
    assert kept["low"] < kept["retention"] < kept["high"]
    scores = json.loads((tmp_path / "out" / "summary.json").read_text())["scores"]
    assert kept["student"] == pytest.approx(scores["STS16"], abs=1e-3)
    assert report["agreement"]["texts"] > 256
    assert [each["sentences_per_second"] > 0 for each in report["compared"]] == [True, True]
    assert (tmp_path / "out" / "report" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_input_gets_one_sentence_and_finished_tasks_stay(
    model: Path,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = AsteriskModel.from_pretrained(broken)
    word = weights.tokenizer.convert_tokens_to_ids("guitar")
    with torch.no_grad():
        # Finite, as all weights must be, but not its variance.
        weights.embeddings.embed_tokens.weight[word, ::2] = 3e38
    weights.save_pretrained(broken)
    data = shutil.copytree(small_data, tmp_path / "data")
    table = pq.read_table(data / "sts" / "STS16.test.parquet").to_pandas()
    table.loc[3, "sentence1"] = "A man plays a guitar."
    table.to_parquet(data / "sts" / "STS16.test.parquet")
    out, notes = tmp_path / "out", tmp_path / "notes.csv"
    notes.write_text("note\nA man plays.\n")
    report = ("--data_dir", data, "--baseline", model, "--report", "--texts", notes, "--text_column", "note")
    for options, message in (
        (("--model", model, "--tasks", "NOTHING", "--data_dir", data), "There is no local task 'NOTHING'"),
        (("--model", model, "--tasks", "STS13", "--report"), "give --baseline and --tasks"),
        (("--model", model, "--zero_shot"), "give a --data_dir with classification/"),
        (("--model", model, "--zero_shot", "--data_dir", data, "--sets", "Snow"), "no labelled set 'Snow'"),
        (("--model", TEACHER, "--fine_tune", "--data_dir", data), "--fine_tune trains an Asterisk"),
        (("--model", model, "--tasks", "STS13", *report, "--separator", ";;"), "--separator must be comma, semicolon"),
        (("--model", broken, "--tasks", "STS13,STS16", "--data_dir", data), "not finite for the text 'A man plays"),
    ):
        monkeypatch.setattr(sys, "argv", ["evaluate_mteb.py", *map(str, options), "--output_dir", str(out)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            evaluate_mteb.main()
        said = capsys.readouterr().err
        assert stopped.value.code == 2
        assert message in said
        assert len(said.strip().splitlines()) == 1, said
        assert out.exists() == (options[1] == broken)
    assert list(json.loads((out / "summary.json").read_text())["scores"]) == ["STS13"]
    assert [path.name for path in out.glob("results/*/*/*.json") if path.stem != "model_meta"] == ["STS13.json"]
