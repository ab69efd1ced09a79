"""The card repeats the result files, in metadata that the Hub's own classes read."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from asterisk.core.errors import UserError
from asterisk.core.files import read_json, write_json
from asterisk.evaluation.sts import read_sentence_pairs
from asterisk.models.load import load_encoder
from asterisk.publishing.arguments import PublishArguments
from asterisk.publishing.card import read_card_content, write_card
from asterisk.publishing.checkpoint import Checkpoint, load_checkpoint
from asterisk.publishing.result_files import is_mteb_task, read_scores
from asterisk.publishing.training_run import NOT_STATED, read_licences, read_training_run
from tests.support.paths import DEMO_CORPUS
from tests.support.published import backbone_folder, head_folder


def mteb_summary(revision: str = "r") -> dict[str, Any]:
    """A summary in the format of evaluate_mteb.py."""
    task = {"dataset": {"path": "/data/eval", "revision": "abc"}, "splits": ["test"], "metric": "cosine_spearman"}
    hub = {**task, "dataset": {"path": "mteb/sts16-sts", "revision": "4d8694f8f0e0100860b497b999b3dbed754a0513"}}
    scores = {"STSBenchmark": 77.1955, "STS16": 76.3047}
    teacher = {"model": "package:teacher", "scores": {"STSBenchmark": 82.0325, "STS16": 78.9895}, "means": {}}
    return {
        "scores": scores,
        "means": {"sts2": 76.7501},
        "model": {"model": "/somewhere/runs/mine/model", "revision": revision},
        "baselines": [teacher],
        "tasks": {"STSBenchmark": task, "STS16": hub},
        "versions": {"mteb": "2.26.24"},
    }


SCORES = {"accuracy": 90.0, "macro_f1": 89.83}
HEAD_REPORT = {
    "model": "someone/backbone",
    "mode": "frozen",
    "problem_type": "single_label_classification",
    "settings": {"train_file": "train.csv", "dev_file": "", "test_file": "songs.csv"},
    "data": {"train": {"texts": 252, "truncated": 0.0}, "test": {"texts": 140, "truncated": 0.0}},
    "saved_repeat": 0,
    "repeats": [
        {"seed": 0, "texts": 252, "passes": 5, "seconds": seconds, "losses": [], "development": None, "test": SCORES}
        for seconds in (2.0, 3.0)
    ],
    "latency": {"one_text_ms": 1.0, "in_batch_ms": 0.1, "batch": 64, "device": "cpu", "threads": 1},
    "mean": {"test": {"accuracy": {"mean": 90.0, "deviation": 1.0}, "macro_f1": {"mean": 89.83, "deviation": 1.0}}},
}
RECORD = {
    "texts": 3,
    "forms": {"checkpoint": {"tolerance": 0.9999, "lowest_cosine": 1.0, "mean_cosine": 1.0, "STS": 80.0}},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder in the format of train_distill.py, with a small model of random weights."""
    folder = tmp_path / "run"
    backbone_folder(folder)
    recipe = {"corpus": [str(DEMO_CORPUS), "hub:someone/texts:all"], "teacher": "someone/teacher", "num_epochs": 2.5}
    write_json(folder / "run.json", {"recipe": recipe, "versions": {"python": "3.11", "torch": "2.13"}})
    points: list[dict[str, Any]] = [
        {"step": step, "loss": 1 / step, "scores": {}, "seconds": 60.0 * step} for step in (1, 4)
    ]
    (folder / "curves.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    manifest = {
        "settings": {"sources": [["tatoeba.txt.xz", "a3"], ["mine.txt", "b4"]]},
        "counts": {"kept": 12_345, "recombined": 345},
    }
    (folder / "store" / "corpus").mkdir(parents=True)
    write_json(folder / "store" / "corpus" / "manifest.json", manifest)
    return folder


def card_of(checkpoint: Checkpoint, folder: Path, arguments: PublishArguments) -> Any:
    folder.mkdir()
    pairs = read_sentence_pairs("recipes/sts_captions/test.jsonl", "STS")
    write_card(checkpoint, folder, RECORD, pairs, arguments, read_card_content(checkpoint, arguments))
    return ModelCard.load(folder / "README.md")


def test_card_tells_scores_training_and_licences(run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run / "model")
    summary = tmp_path / "summary.json"
    write_json(summary, mteb_summary(load_encoder(str(run / "model")).revision))
    arguments = PublishArguments(repo_id="me/mine", tag="v1", base_model="someone/teacher", results=[str(summary)])
    card = card_of(checkpoint, tmp_path / "hub", arguments)
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.base_model == "someone/teacher"
    found = {(each.dataset_type, each.metric_type): each.metric_value for each in card.data.eval_results}
    # A folder of the measuring machine does not name a dataset.
    assert found == {("stsbenchmark", "cosine_spearman"): 77.2, ("mteb/sts16-sts", "cosine_spearman"): 76.3}
    for text in (
        "| STSBenchmark | 77.20 | 82.03 |",
        "| mean of sts2 | 76.75 | |",
        "| texts | 12,345, including 345 recombined from phrases or halves of other sentences |",
        "| steps | 4 |",
        "| training time | 4.0 min |",
        "| tatoeba.txt.xz | CC BY 2.0 FR | Tatoeba (tatoeba.org), by its contributors: facebookresearch/LASER |",
        f"| mine.txt | {NOT_STATED} | |",
        'AutoModel.from_pretrained("me/mine", revision="v1", trust_remote_code=True)',
    ):
        assert text in re.sub(" +", " ", card.text), text
    assert "/data/eval" not in card.content
    assert str(tmp_path) not in card.content
    assert {path.name for path in (tmp_path / "hub" / "figures").iterdir()} == {"curves.png", "scores.png"}


def test_card_tells_of_the_run_that_was_trained_on(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "first")
    record = read_json(run / "run.json")
    first = read_json(tmp_path / "first" / "run.json")
    write_json(tmp_path / "first" / "run.json", {"recipe": {**first["recipe"], "batch_size": 256}})
    write_json(run / "run.json", {"recipe": {**record["recipe"], "encoder": str(tmp_path / "first" / "model")}})
    card = card_of(load_checkpoint(run / "model"), tmp_path / "hub", PublishArguments(repo_id="me/mine"))
    assert "| starting point | a student trained for 4 steps of 256 on 12,345 texts, in 4.0 min |" in card.text
    assert str(tmp_path) not in card.content


def test_card_begins_with_the_teachers_the_labels_and_the_strongest_tasks(run: Path, tmp_path: Path) -> None:
    recipe = read_json(run / "run.json")["recipe"]
    recipe |= {"more_teachers": ["someone/second"], "label_tasks": ["labels/sentiment.yaml", "emotions.yaml"]}
    write_json(run / "run.json", {"recipe": recipe})
    summary = mteb_summary(load_encoder(str(run / "model")).revision)
    about = summary["tasks"]["STSBenchmark"]
    summary["scores"], others = ({f"T{task}": 50.0 + task * gain for task in range(6)} for gain in (2.0, 1.0))
    summary["tasks"] = dict.fromkeys(summary["scores"], about)
    summary["baselines"][0]["scores"] = others | {"T0": 60.0}
    write_json(tmp_path / "summary.json", summary)
    arguments = PublishArguments(repo_id="me/mine", results=[str(tmp_path / "summary.json")])
    card = card_of(load_checkpoint(run / "model"), tmp_path / "hub", arguments)
    text = " ".join(card.text.split())
    assert "distilled from teacher and second. Labelled texts taught it to tell" in text
    assert "to tell sentiment and emotions apart." in text
    assert "| teachers | teacher, second |" in re.sub(" +", " ", card.text)
    assert (
        "strongest on T5 (+5.0), T4 (+4.0) and T3 (+3.0), and weakest on T0 (-10.0), T1 (+1.0) and T2 (+2.0)" in text
    )


def test_only_mtebs_own_tasks_are_called_mteb(tmp_path: Path) -> None:
    names = ["STSBenchmark", "SciFact", "MRPC", "SNLI", "QuoraPairs (dev)", "SICK-R (test)"]
    summary = mteb_summary()
    summary["scores"] = dict.fromkeys(names, 75.0)
    summary["tasks"] = dict.fromkeys(names, summary["tasks"]["STSBenchmark"])
    write_json(tmp_path / "summary.json", summary)
    entries = read_scores(tmp_path / "summary.json").entries
    assert [entry.dataset_name for entry in entries] == ["MTEB STSBenchmark", "MTEB SciFact", *names[2:]]
    assert [entry.dataset_split for entry in entries] == ["test", "test", "test", "test", "dev", "test"]


def test_the_mark_in_a_summary_decides_what_is_mtebs(tmp_path: Path) -> None:
    summary = mteb_summary()
    summary["tasks"] = {name: {**about, "mteb": name == "STS16"} for name, about in summary["tasks"].items()}
    write_json(tmp_path / "summary.json", summary)
    entries = read_scores(tmp_path / "summary.json").entries
    assert [entry.dataset_name for entry in entries] == ["STSBenchmark", "MTEB STS16"]


def test_summaries_without_a_mark_are_judged_by_the_names_of_local_tasks() -> None:
    names = ("STS16", "SICK-R", "SICK-R (test)", "STSBenchmark (dev)", "MRPC", "TweetEval-hate", "QuoraPairs (dev)")
    assert [is_mteb_task(name) for name in names] == [True, True, False, False, False, False, False]


def test_hub_data_sets_are_named_in_the_metadata(run: Path, tmp_path: Path) -> None:
    (run / "store" / "corpus" / "manifest.json").unlink()
    card = card_of(load_checkpoint(run / "model"), tmp_path / "hub", PublishArguments(repo_id="me/mine"))
    assert card.data.datasets == ["someone/texts"]
    assert card.data.eval_results is None


def test_heads_card_tells_labels_and_scores(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(head_folder(tmp_path / "run"))
    write_json(tmp_path / "run" / "report.json", HEAD_REPORT)
    write_json(tmp_path / "run" / "run.json", {"recipe": {"train_file": "/home/me/train.csv", "mode": "frozen"}})
    card = card_of(checkpoint, tmp_path / "hub", PublishArguments(repo_id="me/songs", base_model="someone/backbone"))
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.base_model_relation == "finetune"
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found == {"accuracy": 0.9, "f1": 0.8983}
    for text in ("3 labels: music, weather, other", "the mean of 2 trainings", "| training time | 5.0 s |"):
        assert text in card.text
    assert "/home/me" not in card.content


def test_results_of_another_model_are_refused(run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(run / "model")
    write_json(tmp_path / "summary.json", mteb_summary("of another"))
    line = {"model": "student", "sts": {"STS": 80.0}, "parameters": 14_019_584}
    write_json(tmp_path / "results.json", [line])
    write_json(tmp_path / "odd.json", {"rows": []})
    for name, message in (
        ("summary.json", "was measured on a model other than"),
        ("results.json", "is about a model of 14,019,584 parameters"),
        ("odd.json", "is not a result file"),
        ("nowhere.json", r"There is no .*nowhere\.json"),
    ):
        with pytest.raises(UserError, match=message):
            read_card_content(checkpoint, PublishArguments(repo_id="me/mine", results=[str(tmp_path / name)]))
    broken = mteb_summary()
    del broken["tasks"]["STS16"]
    write_json(tmp_path / "broken.json", broken)
    with pytest.raises(UserError, match="lacks 'STS16'"):
        read_scores(tmp_path / "broken.json")


def test_licences_are_those_of_the_corpus_card() -> None:
    rows = re.findall(
        r"^\| `(\w+)\.txt\.xz` \| [\d,]+ \| (.+?) \| (.+?) \|$", (DEMO_CORPUS / "README.md").read_text(), re.M
    )
    assert {name: (licence, origin) for name, licence, origin in rows} == read_licences(DEMO_CORPUS / "licences.yaml")


def test_licences_can_be_given_for_a_checkpoint_without_its_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine: {licence: CC0 1.0, origin: my desk}\n")
    (tmp_path / "list.yaml").write_text("- mine\n")
    run = read_training_run(tmp_path / "model", str(tmp_path / "mine.yaml"))
    assert [(source.name, source.licence) for source in run.sources] == [("mine", "CC0 1.0")]
    # The table also names the sources of one file that was drawn from all of them.
    write_json(tmp_path / "run.json", {"recipe": {"corpus": ["drawn.jsonl"]}})
    run = read_training_run(tmp_path / "model", str(tmp_path / "mine.yaml"))
    assert [source.name for source in run.sources] == ["mine"]
    (tmp_path / "run.json").unlink()
    for name, message in (("list.yaml", "must hold lines"), ("no.yaml", "There is no")):
        with pytest.raises(UserError, match=message):
            read_training_run(tmp_path / "model", str(tmp_path / name))
