"""train_head.py as its users run it: from a table to a classifier that loads anywhere, and all wrong input."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments

import train_head
from modeling_asterisk import AsteriskForSequenceClassification
from tests.support.labelled import topic_rows, write_table, write_tiny_asterisk
from tests.support.paths import REPOSITORY, TEACHER
from tests.support.programs import run_here

RELEASE = REPOSITORY / "release" / "asterisk"
SETS = REPOSITORY.parent / "shared" / "data" / "eval" / "classification"

Run = Callable[..., tuple[int, str, str]]
Classify = Callable[[Path, list[str]], list[dict[str, float]]]

pytestmark = pytest.mark.slow

CLASSIFY = """
import json, sys
from transformers import pipeline
for line in sys.stdin:
    model, texts = json.loads(line)
    found = pipeline("text-classification", model=model, trust_remote_code=True)(texts, top_k=None)
    assert not {"asterisk", "modeling_asterisk"} & set(sys.modules)
    print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_asterisk(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs train_head.py in this process; gives its exit status and what it said on stdout and stderr."""

    def run(flags: dict[str, object]) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["train_head.py", *map(str, itertools.chain(*flags.items()))])
        capsys.readouterr()
        status = 0
        try:
            train_head.main()
        except SystemExit as exit:
            status = int(exit.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classify]:
    """Gives a model's scores by label of some texts; a separate process has nothing of ours but the models."""
    command, pipe = [sys.executable, "-c", CLASSIFY], subprocess.PIPE
    folder = tmp_path_factory.mktemp("elsewhere")
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as process:
        given, answers = process.stdin, process.stdout
        assert given is not None
        assert answers is not None

        def scores(model: Path, texts: list[str]) -> list[dict[str, float]]:
            print(json.dumps([str(model), texts]), file=given, flush=True)
            lines = json.loads(answers.readline())
            return [{each["label"]: each["score"] for each in line} for line in lines]

        yield scores
        given.close()


def test_command_goes_from_a_table_to_a_pipeline(model: Path, tmp_path: Path, classify: Classify) -> None:
    train, test = (write_table(tmp_path / f"{seed}.csv", topic_rows(200, seed)) for seed in (0, 1))
    result = run_here(
        "train_head.py",
        *("--model", model, "--train_file", train, "--test_file", test, "--output_dir", tmp_path / "out"),
        *("--text_column", "text", "--label_column", "label"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {name: part["texts"] for name, part in report["data"].items()} == {
        "train": 180,
        "development": 20,
        "test": 200,
    }
    accuracy = report["repeats"][0]["test"]["accuracy"]
    assert accuracy > 70  # on vectors of a backbone that has learned nothing
    assert f"{accuracy:.2f}" in result.stdout
    rows = topic_rows(200, seed=1)
    answers = classify(tmp_path / "out" / "model", [text for text, _ in rows])
    right = [
        max(answer, key=lambda label: answer[label]) == topic for answer, (_, topic) in zip(answers, rows, strict=True)
    ]
    assert 100 * sum(right) / 200 == pytest.approx(accuracy)
    assert sum(line.get(own, 0) for own, line in report["confusion"].items()) == sum(right)
    assert [(line["label"], line["texts"]) for line in report["classes"]] == [("food", 100), ("sport", 100)]
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        *("report.json", "report.md", "report.html", "run.json", "README.md", "config.json", "model.safetensors"),
        *("configuration_asterisk.py", "modeling_asterisk.py", "tokenizer.json", "tokenizer_config.json"),
    }


def test_saved_folder_is_for_all_and_goes_on_training(model: Path, tmp_path: Path, run: Run) -> None:
    train = write_table(tmp_path / "train.csv", topic_rows(100))
    flags: dict[str, object] = {"--train_file": train, "--num_epochs": 3, "--learning_rate": 0.01}
    previous = os.umask(0o027)
    try:
        assert run({**flags, "--model": model, "--output_dir": tmp_path / "one"})[0] == 0
    finally:
        os.umask(previous)
    saved = tmp_path / "one" / "model"
    assert {path.stat().st_mode & 0o777 for path in saved.iterdir()} == {0o640}
    card = ModelCard.load(saved / "README.md")
    assert (card.data.pipeline_tag, card.data.library_name) == ("text-classification", "transformers")
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert f"{report['repeats'][0]['development']['accuracy']:.2f}" in card.text
    temperature = json.loads((saved / "config.json").read_text())["temperature"]
    assert temperature == report["decisions"]["temperature"] != 1
    # Logits are the head's outputs divided by it.
    classifier = AsteriskForSequenceClassification.from_pretrained(saved).eval()
    vectors = torch.randn(2, 16)
    torch.testing.assert_close(
        classifier(sentence_embeddings=vectors).logits, classifier.classifier(vectors) / temperature
    )
    # Learning is kept: the first pass is better than the start.
    assert run({**flags, "--model": saved, "--output_dir": tmp_path / "two", "--num_epochs": 1})[0] == 0
    further = json.loads((tmp_path / "two" / "report.json").read_text())
    assert further["repeats"][0]["losses"][0] < report["repeats"][0]["losses"][0]
    arguments = TrainingArguments(str(tmp_path / "trainer"), max_steps=1, report_to="none", save_strategy="no")
    rows = [{"sentence_embeddings": vectors[0].tolist(), "label": 1}] * 8
    trainer = Trainer(AutoModelForSequenceClassification.from_pretrained(saved, trust_remote_code=True), arguments)
    trainer.train_dataset = rows  # type: ignore[assignment]
    assert trainer.train().training_loss > 0


def test_none_of_these_is_told_by_its_own_label(model: Path, tmp_path: Path, run: Run) -> None:
    other = [(f"{text} goal soup", "none") for text, _ in topic_rows(40, seed=9)]
    train, test = (write_table(tmp_path / f"{seed}.csv", [*topic_rows(200, seed), *other]) for seed in (0, 1))
    flags: dict[str, object] = {"--model": model, "--mode": "full", "--train_file": train, "--test_file": test}
    status, said, errors = run({**flags, "--none_label": "none", "--output_dir": tmp_path / "out"})
    assert status == 0, errors
    assert "36 texts with the label 'none' are not trained on" in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["food", "sport"]
    assert config["none_threshold"] == report["decisions"]["none_threshold"]
    assert "macro-F1" in report["decisions"]["criterion"]
    assert report["none"]["test"]["none_texts"] == 40
    assert 0 <= report["none"]["test"]["none_recall"] <= 100
    status, _, errors = run({**flags, "--none_label": "nothing", "--output_dir": tmp_path / "two"})
    assert (status, "No development text has the label 'nothing'" in errors) == (2, True)


def test_labels_alone_make_a_classifier_of_unlabelled_texts(tmp_path: Path, run: Run) -> None:
    words = {"sport": "team match football goal", "food": "soup bread garlic dinner"}
    rows = [
        (f"{first} and {second}", label)
        for label, own in words.items()
        for first in own.split()
        for second in own.split()
    ]
    (tmp_path / "texts.txt").write_text("\n".join(text for text, _ in rows))
    test = write_table(tmp_path / "test.csv", rows)
    flags: dict[str, object] = {"--model": RELEASE, "--train_file": tmp_path / "texts.txt"}
    flags |= {"--zero_shot_labels": "sport,food", "--test_file": test, "--output_dir": tmp_path / "out"}
    status, said, errors = run({**flags, "--teacher": TEACHER, "--num_epochs": 20})
    assert status == 0, errors
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["zero_shot"]["kept"] == 16
    assert report["zero_shot"]["teacher_on_test"]["accuracy"] > 80
    assert report["repeats"][0]["test"]["accuracy"] > 80
    assert "zero-shot decisions" in (tmp_path / "out" / "model" / "README.md").read_text()
    status, said, _ = run({**flags, "--num_epochs": 1, "--output_dir": tmp_path / "own"})
    assert (status, "labels the texts itself" in said) == (0, True)


def test_several_labels_and_numbers_reach_the_pipeline_too(
    model: Path, tmp_path: Path, run: Run, classify: Classify
) -> None:
    rows = topic_rows(200)
    several = write_table(tmp_path / "several.csv", [(text, f"{topic} | text") for text, topic in rows])
    numbers = write_table(tmp_path / "numbers.csv", [(text, 1.5 if topic == "food" else 4.5) for text, topic in rows])
    common = {"--model": model, "--mode": "full"}
    flags = {**common, "--train_file": several, "--label_separator": "|", "--output_dir": tmp_path / "several"}
    assert run(flags)[0] == 0
    report = json.loads((tmp_path / "several" / "report.json").read_text())
    thresholds = json.loads((tmp_path / "several" / "model" / "config.json").read_text())["thresholds"]
    assert list(report["decisions"]["thresholds"].values()) == thresholds
    assert report["with_thresholds"]["development"]["macro_f1"] >= report["repeats"][0]["development"]["macro_f1"]
    assert run({**common, "--train_file": numbers, "--output_dir": tmp_path / "numbers"})[0] == 0
    texts = ["soup salt", "goal team"]
    food, sport = classify(tmp_path / "several" / "model", texts)
    # Each has its own probability; they need not sum to one.
    assert min(food["food"], food["text"], sport["sport"], sport["text"]) > 0.5
    assert max(food["sport"], sport["food"]) < 0.5
    food, sport = classify(tmp_path / "numbers" / "model", texts)
    assert food["label"] == pytest.approx(1.5, abs=0.7)
    assert sport["label"] == pytest.approx(4.5, abs=0.7)


def test_the_adapters_kept_are_those_of_the_model_that_is_saved(model: Path, tmp_path: Path, run: Run) -> None:
    train, dev = (write_table(tmp_path / f"{seed}.csv", topic_rows(60, seed)) for seed in (0, 1))
    flags = {"--model": model, "--train_file": train, "--dev_file": dev, "--output_dir": tmp_path / "out"}
    training = {"--mode": "lora", "--num_epochs": 2, "--learning_rate": 0.02, "--samples_per_label": 8, "--repeats": 3}
    assert run({**flags, **training, "--keep_adapters": True})[0] == 0
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model", trust_remote_code=True)
    config = AutoConfig.from_pretrained(tmp_path / "out" / "adapters", trust_remote_code=True)
    base = AutoModelForSequenceClassification.from_pretrained(model, config=config, trust_remote_code=True)
    adapted = PeftModel.from_pretrained(base, tmp_path / "out" / "adapters").merge_and_unload()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(adapted.state_dict()[name], weight, msg=name)


def test_few_shot_reports_means_and_resuming_a_finished_run_changes_nothing(
    model: Path, tmp_path: Path, run: Run
) -> None:
    train, test = (write_table(tmp_path / f"{seed}.csv", topic_rows(100, seed)) for seed in (0, 1))
    flags: dict[str, object] = {"--model": model, "--train_file": train, "--test_file": test, "--resume": True}
    flags |= {"--samples_per_label": 4, "--repeats": 3, "--num_epochs": 5, "--output_dir": tmp_path / "out"}
    assert run(flags)[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    accuracies = [repeat["test"]["accuracy"] for repeat in report["repeats"]]
    assert report["mean"]["test"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 3)
    assert [repeat["texts"] for repeat in report["repeats"]] == [8, 8, 8]
    # At most as many development texts as training texts.
    assert report["data"]["development"]["texts"] == 8
    assert "±" in (tmp_path / "out" / "report.md").read_text()
    before = (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns
    status, said, _ = run(flags)
    assert (status, "is finished" in said) == (0, True)
    assert (tmp_path / "out" / "model" / "model.safetensors").stat().st_mtime_ns == before
    status, _, errors = run({**flags, "--num_epochs": 6})
    assert (status, "num_epochs = 5, but 6 is requested" in errors) == (2, True)
    write_table(train, topic_rows(100, seed=3))
    status, _, errors = run(flags)
    assert (status, "was made with data" in errors) == (2, True)


def test_what_is_odd_but_usable_gets_a_line_and_a_model(model: Path, tmp_path: Path, run: Run) -> None:
    rows = topic_rows(100)
    cases: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], str]] = {
        "empty": ([*rows, (" ", "food")], rows[:0], "1 of the 101 texts"),
        "duplicates": (rows, [*topic_rows(20, seed=1), *rows[:3]], "3 of the 23 texts"),
        "single": ([*rows, ("one more", "once")], rows[:0], "1 of the 3 labels have only one text"),
        "singles": ([(text, text) for text, _ in rows], rows[:0], "100 labels for 100 texts"),
        "few": (rows[:8], rows[:0], "too few texts for a development split"),
    }
    for name, (train, test, message) in cases.items():
        flags: dict[str, object] = {"--model": model, "--num_epochs": 2, "--output_dir": tmp_path / name}
        flags["--train_file"] = write_table(tmp_path / f"{name}.csv", train)
        if test:
            flags["--test_file"] = write_table(tmp_path / f"{name}.test.csv", test)
        status, _, errors = run(flags)
        assert status == 0, errors
        assert message in errors
        assert all(line.startswith("warning: ") for line in errors.splitlines()), errors
        assert (tmp_path / name / "model" / "model.safetensors").exists()


def test_ten_thousand_labels_are_learned_with_a_warning(model: Path, tmp_path: Path, run: Run) -> None:
    rows = [(text, str(number % 10_000)) for number, (text, _) in enumerate(topic_rows(12_000))]
    train = write_table(tmp_path / "train.csv", rows)
    flags: dict[str, object] = {"--model": model, "--train_file": train, "--output_dir": tmp_path / "out"}
    flags |= {"--num_epochs": 1, "--batch_size": 1024}
    status, said, errors = run(flags)
    assert status == 0, errors
    assert errors.startswith("warning: ")
    assert len(errors.splitlines()) == 1
    assert "10,000 labels" in said
    assert len(json.loads((tmp_path / "out" / "model" / "config.json").read_text())["id2label"]) == 10_000


def test_wrong_input_gets_one_sentence_and_status_2_and_leaves_nothing(model: Path, tmp_path: Path, run: Run) -> None:
    rows = topic_rows(40)
    train = write_table(tmp_path / "train.csv", rows)
    (tmp_path / "damaged.csv").write_bytes("text,label\ncafé,food\nthé,".encode() + b"\xff\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    tables: dict[str, tuple[Sequence[Sequence[object]], str]] = {
        "unseen": ([*topic_rows(4, seed=1), ("new", "music")], "text,label"),
        "one": ([(text, "food") for text, _ in rows], "text,label"),
        "header": ([], "text,label"),
        "blank": ([(" ", topic) for _, topic in rows], "text,label"),
        "other": (rows, "words,topic"),
        "numbers": ([(text, number + 0.5) for number, (text, _) in enumerate(rows)], "text,label"),
    }
    paths = {name: write_table(tmp_path / f"{name}.csv", *table) for name, table in tables.items()}
    good = {"--model": model, "--train_file": train, "--output_dir": tmp_path / "out"}
    cases: list[tuple[dict[str, object], str]] = [
        ({"--train_file": tmp_path / "missing.csv"}, "There is no file"),
        ({"--train_file": ""}, "--train_file is missing"),
        ({"--train_file": tmp_path / "damaged.csv"}, "is not UTF-8"),
        ({"--train_file": paths["one"]}, "have one label in column 'label', 'food'"),
        ({"--train_file": paths["header"]}, "has no rows"),
        ({"--train_file": paths["blank"]}, "are empty"),
        ({"--train_file": paths["numbers"], "--samples_per_label": 4}, "are numbers"),
        ({"--test_file": paths["unseen"]}, "the text 'new' has the label 'music'"),
        ({"--dev_file": paths["unseen"]}, "the text 'new' has the label 'music'"),
        ({"--test_file": paths["other"]}, "has no column 'text'; its columns are words, topic"),
        ({"--label_column": "topic"}, "has no column 'topic'"),
        ({"--model": tmp_path / "folder"}, "has no config.json"),
        ({"--mode": "half"}, "--mode must be"),
        ({"--output_dir": tmp_path / "full"}, "is not empty and holds no run"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for change, message in cases:
        status, _, errors = run({**good, **change})
        assert status == 2, change
        last = errors.strip().splitlines()[-1]
        assert last.startswith("error: "), change
        assert message in last, (change, last)
        assert sorted(tmp_path.rglob("*")) == before, change


@pytest.mark.skipif(not SETS.exists(), reason="the evaluation sets are not here")
def test_a_distilled_asterisk_tells_intents_apart_after_seeing_few(tmp_path: Path, run: Run) -> None:
    flags: dict[str, object] = {"--model": RELEASE, "--output_dir": tmp_path / "out"}
    flags |= {"--train_file": SETS / "SNIPS.train.parquet", "--samples_per_label": 32}
    flags |= {"--dev_file": SETS / "SNIPS.dev.parquet", "--test_file": SETS / "SNIPS.test.parquet"}
    status, _, errors = run(flags)
    assert status == 0, errors
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    # Seven intents, 224 texts.
    assert report["repeats"][0]["test"]["accuracy"] > 80
    assert 0 <= report["data"]["test"]["truncated"] < 0.05


def test_help_teaches(run: Run) -> None:
    status, said, _ = run({"--help": ""})
    assert status == 0
    assert "python train_head.py --model runs/demo/model --train_file train.csv" in said
    assert "frozen (train the head alone), lora" in " ".join(said.split())
