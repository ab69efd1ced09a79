"""What the README says holds: its snippets run as they stand, its tables are what the programs wrote."""

import re
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from write_readme import SLOT, filled

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(snippet: str, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "model").symlink_to(small_run / "model")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(snippet, names)
    if "short" in names:
        assert names["embeddings"].shape == (3, 256)  # type: ignore[attr-defined]
        assert names["short"].shape == (64,)  # type: ignore[attr-defined]
    if "loss" in names:
        assert names["loss"].requires_grad  # type: ignore[attr-defined]


def test_tables_are_those_of_the_result_files() -> None:
    assert SLOT.search(README)
    assert filled(README) == README


def test_every_path_named_exists() -> None:
    for path in re.findall(r"^\| `([\w./]+)` \|", README, re.MULTILINE) + re.findall(
        r"\]\((?!http)([\w./]+)\)", README
    ):
        assert (REPOSITORY / path).exists(), path
