"""A wheel alone gives the commands, and publishing finds its templates in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asterisk.command_line import COMMANDS
from tests.support.paths import REPOSITORY
from tests.support.published import backbone_folder, head_folder

pytestmark = pytest.mark.slow
LEFT_OUT = {".git", ".venv", ".cache", "release", "runs", "tests", "benchmarks", "demo", "build", "__pycache__"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone is installed, without the packages that it requires."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY, folder / "source", symlinks=True, ignore=lambda _, names: LEFT_OUT & set(names))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", folder, folder / "source"], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder / "site", wheel], check=True, timeout=300)
    shutil.rmtree(folder / "source")
    return folder / "site"


def run_python(site: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def run_asterisk(site: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_python(site, folder, site / "bin" / "asterisk", *arguments)


def test_command_lists_and_explains_the_programs(installed: Path, tmp_path: Path) -> None:
    listed = run_asterisk(installed, tmp_path, "--help")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:-2]] == list(COMMANDS)
    script = (
        "import sys\nfrom asterisk.command_line import COMMANDS, main\n"
        "for command in COMMANDS:\n    sys.argv = ['asterisk', command, '--help']\n"
        "    try: main()\n    except SystemExit as stopped: assert not stopped.code"
    )
    explained = run_python(installed, tmp_path, "-c", script)
    assert explained.returncode == 0, explained.stderr
    assert explained.stdout.count("--config FILE.yaml") >= len(COMMANDS)


def test_package_registers_the_classes(installed: Path, tmp_path: Path) -> None:
    script = (
        "import modeling_asterisk\n"
        "from transformers import AutoConfig, AutoModel\n"
        "print(modeling_asterisk.__file__, type(AutoModel.from_config(AutoConfig.for_model('asterisk'))).__name__)"
    )
    result = run_python(installed, tmp_path, "-c", script)
    assert result.returncode == 0, result.stderr
    location, name = result.stdout.split()
    assert location.startswith(str(installed))
    assert name == "AsteriskModel"


def test_wheel_publishes_and_embeds(installed: Path, tmp_path: Path) -> None:
    model, head = backbone_folder(tmp_path / "backbone"), head_folder(tmp_path / "head")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"sentence1": "Rain falls.", "sentence2": "It rains.", "score": 5}\n' * 2)
    flags = ("--output_dir", tmp_path / "hub", "--compact", "--sts", f"pairs={pairs}")
    published = run_asterisk(installed, tmp_path, "publish", head, *flags)
    assert published.returncode == 0, published.stderr
    assert (tmp_path / "hub" / "README.md").is_file()
    (tmp_path / "texts.txt").write_text("A man plays the guitar.\nIt rains.\n")
    vectors = tmp_path / "vectors.npy"
    embedded = run_asterisk(installed, tmp_path, "embed", "texts.txt", "--model", model, "--output_file", vectors)
    assert embedded.returncode == 0, embedded.stderr
    assert "2 vectors of 32 dimensions" in embedded.stdout
