"""Shared fixtures: entry points run in this process, and files for small runs of them."""

import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.faults import Run
from tests.support.labelled import topic_rows, write_table, write_tiny_asterisk


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an entry point in this process; returns its exit status and its output on stderr."""

    def run(program: ModuleType, flags: dict[str, object]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"{program.__name__}.py", *map(str, itertools.chain(*flags.items()))])
        capsys.readouterr()
        try:
            program.main()
        except SystemExit as exit:
            return int(exit.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, their teacher vectors, a labelled table, and a model."""
    folder = tmp_path_factory.mktemp("faults")
    texts = [f"{text} {number}" for number, (text, _) in enumerate(topic_rows(300))]
    (folder / "texts.txt").write_text("\n".join(texts))
    (folder / "vectors.txt").write_text("\n".join(texts))
    np.save(folder / "vectors.npy", np.random.default_rng(0).standard_normal((300, 32)).astype(np.float32))
    write_table(folder / "labelled.csv", topic_rows(80))
    write_tiny_asterisk(folder / "model")
    return folder
