"""Fetch the common model tests of transformers, which are in its source distribution but not in its wheel.

    .venv/bin/python tests/modeling/transformers_suite/fetch.py

fills `.cache/transformers-suite/<version>/` for the oldest and the newest version that Asterisk claims to support.
What is there already stays. pip does the downloading, with whatever index it is configured for, and checks the hashes.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache" / "transformers-suite"

# The releases' versions and the hashes of their files; `make lock` writes both.
NEWEST_PINS = REPOSITORY / "requirements" / "lock.txt"
OLDEST_PINS = Path(__file__).with_name("oldest.txt")

# The pins from which a site folder was installed.
PINS = "pins.txt"


def pinned_transformers(pins: Path) -> str:
    """Return the version of transformers that a requirements file pins."""
    return re.findall(r"^transformers==([\w.]+)", pins.read_text(), re.MULTILINE)[0]


OLDEST, NEWEST = pinned_transformers(OLDEST_PINS), pinned_transformers(NEWEST_PINS)

# Files that the source distribution leaves out of its tests/ folder. Asterisk neither generates text nor takes part in
# transformers' exporter tests; the settings are fields that every configuration inherits.
MISSING_MODULES = {
    "__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin: ...\n",
    "generation/test_utils.py": "class GenerationTesterMixin: ...\n",
    "utils/test_configuration_utils.py": (
        'config_common_kwargs = {"dtype": "float16", "return_dict": False, "output_hidden_states": True, '
        '"output_attentions": True, "chunk_size_feed_forward": 5, "problem_type": "regression", '
        '"architectures": ["AsteriskModel"], "id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}\n'
    ),
}


def run_pip(command: str, *arguments: str) -> None:
    """Run this interpreter's pip; raise `CalledProcessError` if it fails, such as for a wrong hash."""
    options = ["--disable-pip-version-check", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([sys.executable, "-m", "pip", command, *options, *arguments], check=True)


def make_tests(release: str, work: Path) -> Path:
    """Download and unpack the tests/ folder of one release of transformers; return its path under `work`."""
    pins = OLDEST_PINS if release == OLDEST else NEWEST_PINS
    # pip runs the distribution's setup.py to read its name, with .venv's setuptools, whose hash is known.
    options = ["--no-binary", ":all:", "--no-build-isolation", "--constraint", str(pins), "--dest", str(work)]
    run_pip("download", *options, f"transformers=={release}")
    prefix = f"transformers-{release}/tests/"
    with tarfile.open(work / f"transformers-{release}.tar.gz") as archive:
        members = [member for member in archive if member.isfile() and member.name.startswith(prefix)]
        archive.extractall(work, members, filter="data")
    tests = work / prefix
    for name, source in MISSING_MODULES.items():
        stub = tests / name
        if not stub.exists():
            stub.parent.mkdir(exist_ok=True)
            stub.write_text(source)
    return tests


def make_site(work: Path) -> Path:
    """Install the oldest release and its extra dependencies; return their path under `work`."""
    site = work / "site"
    run_pip("install", "--target", str(site), "--requirement", str(OLDEST_PINS))
    shutil.rmtree(site / "bin", ignore_errors=True)
    shutil.copy(OLDEST_PINS, site / PINS)
    return site


def fetch(release: str) -> None:
    """Complete the cache folder of one release; each folder in it appears by an atomic rename."""
    folder = CACHE / release
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        if not (folder / "tests").exists():
            make_tests(release, Path(work)).rename(folder / "tests")
        pins = folder / "site" / PINS
        if release == OLDEST and (not pins.exists() or pins.read_text() != OLDEST_PINS.read_text()):
            shutil.rmtree(folder / "site", ignore_errors=True)
            make_site(Path(work)).rename(folder / "site")


if __name__ == "__main__":
    for release in (OLDEST, NEWEST):
        fetch(release)
