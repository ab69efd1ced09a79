"""What the README says holds: its snippets run as they stand, its tables are what the programs wrote."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.labelled import topic_rows, write_table
from tests.support.paths import REPOSITORY
from tests.support.serving import serving

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from write_readme import PAGES, SLOT, filled

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# What asks a service has one started for it.
CLIENTS = [snippet for snippet in SNIPPETS if "base_url" in snippet]
SNIPPETS = [snippet for snippet in SNIPPETS if snippet not in CLIENTS]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(snippet: str, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "model").symlink_to(small_run / "model")
    (tmp_path / "release").symlink_to(REPOSITORY / "release")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet, names)
    if "short" in names:
        assert names["embeddings"].shape == (3, 256)  # type: ignore[attr-defined]
        assert names["short"].shape == (64,)  # type: ignore[attr-defined]
    if "loss" in names:
        assert names["loss"].requires_grad  # type: ignore[attr-defined]


def test_a_table_becomes_a_prediction_in_the_lines_shown(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "model").symlink_to(small_run / "model")
    (tmp_path / "train_head.py").symlink_to(REPOSITORY / "train_head.py")
    write_table(tmp_path / "train.csv", topic_rows(60))
    (block,) = (block for block in COMMANDS if "train_head.py" in block)
    _, train, predict = block.strip().splitlines()  # what is to be installed is
    for line in (train, predict):
        command = f"{sys.executable} {line.removeprefix('python ')}"
        result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert "'label': 'food'" in result.stdout or "'label': 'sport'" in result.stdout


def test_the_service_answers_the_lines_shown(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (block for block in COMMANDS if "serve.py" in block)
    _, line = block.strip().splitlines()  # what is to be installed is
    script, folder, *options = line.removeprefix("python ").split()
    assert (script, folder) == ("serve.py", "release/demo")
    (snippet,) = CLIENTS
    # On a port that is free here.
    with serving(published, tmp_path / "log", *options) as service:
        exec(snippet.replace("http://127.0.0.1:8000", service.url), {})
    assert capsys.readouterr().out == "64\n"


@pytest.mark.parametrize("name", PAGES)
def test_tables_are_those_of_the_result_files(name: str) -> None:
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    assert SLOT.search(page)
    assert filled(page) == page


@pytest.mark.parametrize("name", PAGES)
def test_every_path_named_exists(name: str) -> None:
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    for path in re.findall(r"^\| `([\w./]+)` \|", page, re.MULTILINE) + re.findall(r"\]\((?!http)([\w./]+)\)", page):
        assert ((REPOSITORY / name).parent / path).exists(), path


def test_fine_tuning_on_all_texts_is_ahead_of_fasttext_but_where_the_readme_says() -> None:
    lines = json.loads((REPOSITORY / "benchmarks" / "results" / "heads.json").read_text(encoding="utf-8"))["lines"]
    full, other = (
        {line["set"]: line["accuracy"] for line in lines if (line["setting"], line["method"]) == ("all texts", method)}
        for method in ("full", "fastText")
    )
    assert full.keys() == other.keys()
    behind = {name for name in full if full[name] <= other[name]}
    (said,) = re.findall(r"`full` is ahead of fastText but on (.*?): there", README, re.DOTALL)
    assert behind == {name for name in full if re.search(rf"{re.escape(name)}\b", said)}
