"""Fetches the common model tests of transformers, which are in its source distribution but not in its wheel.

    .venv/bin/python tests/transformers_suite/fetch.py

fills `.cache/transformers-suite/<version>/` for the oldest and the newest version that Asterisk claims to support.
What is there already stays. pip does the downloading, with whatever index it is configured for.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache" / "transformers-suite"


def pinned_transformers() -> str:
    """The version that `constraints.txt` pins, or the installed one if nothing is pinned."""
    constraints = REPOSITORY / "constraints.txt"
    pin = re.search(r"^transformers==([\w.]+)", constraints.read_text() if constraints.exists() else "", re.MULTILINE)
    return pin[1] if pin else version("transformers")


OLDEST = "5.4.0"
NEWEST = pinned_transformers()

# The oldest version and the packages that it needs otherwise than .venv has them; all else comes from .venv.
OLDEST_SITE = (
    f"transformers=={OLDEST}",
    "huggingface_hub==1.33.0",
    "tokenizers==0.22.2",
    "httpx==0.28.1",
    "httpcore==1.0.9",
    "certifi==2026.10.18",
)

# The file that says what a site folder was made of.
PINS = "pins.txt"

# What the source distribution leaves out of its own tests/ folder. Asterisk neither generates text nor takes part in
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


def run_pip(*arguments: str) -> None:
    """Runs the pip of this interpreter; raises `CalledProcessError` if it fails."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], check=True)


def make_tests(release: str, work: Path) -> Path:
    """Downloads and unpacks the tests/ folder of one release of transformers; returns where it lies under `work`."""
    run_pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(work), f"transformers=={release}")
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
    """Installs the oldest release and what only it needs; returns where under `work`."""
    site = work / "site"
    run_pip("install", "--no-deps", "--target", str(site), *OLDEST_SITE)
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / PINS).write_text("\n".join(OLDEST_SITE))
    return site


def fetch(release: str) -> None:
    """Completes the cache folder of one release; each folder in it appears by rename, whole or not at all."""
    folder = CACHE / release
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        if not (folder / "tests").exists():
            make_tests(release, Path(work)).rename(folder / "tests")
        pins = folder / "site" / PINS
        if release == OLDEST and (not pins.exists() or pins.read_text() != "\n".join(OLDEST_SITE)):
            shutil.rmtree(folder / "site", ignore_errors=True)
            make_site(Path(work)).rename(folder / "site")


if __name__ == "__main__":
    for release in (OLDEST, NEWEST):
        fetch(release)
