"""Run an entry point in this process."""

import contextlib
import io
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY, SECRETS


def run_here(script: str, *arguments: object, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run an entry point as the fixture `run_script` does, but in this process, which has imported the libraries."""
    command, status = [script, *map(str, arguments)], 0
    out, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", command)
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stopped:
            status = int(stopped.code or 0)
    return subprocess.CompletedProcess(command, status, out.getvalue(), errors.getvalue())
