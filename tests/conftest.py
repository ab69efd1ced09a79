"""Shared fixtures: the packaged teacher, sentences of the demo corpus, a small trained student."""

import itertools
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

# No test may need a network, not even to load a model.
os.environ["HF_HUB_OFFLINE"] = "1"
# As the programs do before they import the libraries.
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from asterisk.data.corpus import build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from tests.support.flags import SMALL_STS, small_run_flags
from tests.support.made_once import made_once
from tests.support.paths import DEMO_CORPUS, REPOSITORY, SECRETS, STS_CAPTIONS, TEACHER, RunScript
from tests.support.programs import run_here
from tests.support.ranks import fork_server
from tests.support.small_teacher import write_small_teacher


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that run programs as slow, and run the files that need the small run first.

    One test process trains the small run while the other runs tests that do not wait for it.
    """
    fixtures = {item: set(getattr(item, "fixturenames", ())) for item in items}
    for item in items:
        if fixtures[item] & {"run_script", "small_run", "published"}:
            item.add_marker(pytest.mark.slow)
    made = {item.path for item in items if "small_run" in fixtures[item]}
    items.sort(key=lambda item: item.path not in made)


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Let each test choose its precision: Accelerate keeps one for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> Iterator[None]:
    """Measure speeds for a moment only; no test looks at how precise they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asterisk.evaluation.speed.SECONDS", 0.01)
        patch.setattr("asterisk.evaluation.speed.REPETITIONS", 1)
        yield


@pytest.fixture(scope="session")
def teacher() -> SentenceTransformerTeacher:
    return SentenceTransformerTeacher(TEACHER, dtype="float32")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Return six thousand sentences of varied kinds and lengths."""
    found: list[str] = []
    for path in sorted(DEMO_CORPUS.glob("*.txt.xz")):
        found += lzma.decompress(path.read_bytes()).decode().splitlines()[:500]
    return found


@pytest.fixture(scope="session")
def store(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[str], teacher: SentenceTransformerTeacher
) -> EmbeddingStore:
    """Return a store of 1,500 sentences and the teacher's vectors."""

    def make(folder: Path) -> None:
        (folder / "a.txt").write_text("\n".join(sentences[::4]))
        corpus = build_corpus([str(folder / "a.txt")], folder / "store" / "corpus")
        embed_corpus(corpus, teacher, folder / "store")

    return EmbeddingStore(made_once(tmp_path_factory, "distillation", make) / "store")


@pytest.fixture(scope="session")
def run_script() -> RunScript:
    """Run an entry point as a user would, from the repository's root."""

    def run(script: str, *arguments: object, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, script, *map(str, arguments)]
        environment = {**os.environ, **SECRETS}
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout
        )

    return run


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    return fork_server()


@pytest.fixture(scope="session")
def small_material(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """Return a folder with few texts and sentence pairs, and the packaged teacher with their tokens only."""

    def make(folder: Path) -> None:
        (folder / "texts.txt").write_text("\n".join(sentences[::4]), encoding="utf-8")
        captions = STS_CAPTIONS.read_text(encoding="utf-8").splitlines()[:150]
        (folder / "sts.jsonl").write_text("\n".join(captions), encoding="utf-8")
        pairs = map(json.loads, captions)
        texts = [*sentences[::4], *(pair[side] for pair in pairs for side in ("sentence1", "sentence2"))]
        write_small_teacher(folder / "teacher", texts)

    return made_once(tmp_path_factory, "material", make)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_material: Path) -> Path:
    """Return the folder of a whole run of train_distill.py on few sentences."""

    def make(folder: Path) -> None:
        flags = small_run_flags(small_material, folder / "run")
        result = run_here("train_distill.py", *itertools.chain(*flags.items()))
        assert result.returncode == 0, result.stderr
        (folder / "output.txt").write_text(result.stdout + result.stderr, encoding="utf-8")

    return made_once(tmp_path_factory, "small", make) / "run"


@pytest.fixture(scope="session")
def published(small_run: Path, small_material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Hub folder that publish.py writes for the small student."""

    def make(folder: Path) -> None:
        result = run_here(
            *("publish.py", small_run / "model", "--output_dir", folder / "hub"),
            *("--repo_id", "someone/asterisk", "--tag", "v1", "--sts", f"{SMALL_STS}={small_material / 'sts.jsonl'}"),
        )
        assert result.returncode == 0, result.stderr
        (folder / "output.txt").write_text(result.stdout + result.stderr, encoding="utf-8")

    return made_once(tmp_path_factory, "published", make) / "hub"
