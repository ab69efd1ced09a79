"""Asterisk's models pass transformers' own common tests, on the oldest and the newest transformers that we support."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.modeling.transformers_suite.fetch import CACHE, NEWEST, OLDEST, REPOSITORY

SUITE = Path(__file__).parent / "transformers_suite" / "asterisk_suite.py"

# Below this, the tests were not collected as they should be: about 100 pass on a CPU, more on a GPU.
FEWEST_PASSED = 90


@pytest.mark.slow
@pytest.mark.parametrize("release", [NEWEST, OLDEST], ids=["newest", "oldest"])
def test_models_pass_the_common_tests_of_transformers(release: str) -> None:
    folder = CACHE / release
    site = [folder / "site"] if release == OLDEST else []
    for needed in [folder / "tests", *site]:
        if not needed.is_dir():
            pytest.fail(f"{needed.relative_to(REPOSITORY)} is missing: run `make setup` to fetch it.")
    # The suite reads warnings that conftest.py silences.
    inherited = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    environment = inherited | {
        # The suite's `tests` package comes before our own folder of that name.
        "PYTHONPATH": os.pathsep.join(map(str, [*site, folder, REPOSITORY])),
        "HF_HUB_OFFLINE": "1",
        # Several threads make models this small three times slower.
        "OMP_NUM_THREADS": "1",
        "RUN_SLOW": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    # Our own pytest settings and conftest.py are left out. The suite itself checks which transformers it runs on.
    options = ["-c", os.devnull, f"--rootdir={folder}", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--tb=short", *options, str(SUITE)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    report = f"transformers {release}:\n{result.stdout[-20_000:]}\n{result.stderr[-5_000:]}"
    assert result.returncode == 0, report
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed, report
    assert int(passed[1]) >= FEWEST_PASSED, report
