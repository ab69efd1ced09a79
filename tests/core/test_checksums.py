"""SHA256SUMS finds every missing, changed and added file."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from asterisk.core.checksums import CHECKSUMS, verify_checksums, write_checksums
from asterisk.core.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub" / "b c.txt").write_text("b")
    write_checksums(tmp_path)
    return tmp_path


def test_complete_folder_is_verified_as_sha256sum_does(folder: Path) -> None:
    files = {folder / "a.txt", folder / "sub" / "b c.txt", folder / CHECKSUMS}
    assert set(verify_checksums(folder, "restore it")) == files
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "a.txt").unlink(), "a.txt is missing; restore it."),
        (lambda folder: (folder / "a.txt").write_text("b"), "a.txt has changed; restore it."),
        (lambda folder: (folder / "c.txt").write_text("c"), "c.txt is not listed; restore it."),
        (lambda folder: (folder / CHECKSUMS).write_bytes(b"\xff"), "is not listed|is missing"),
        (lambda folder: (folder / CHECKSUMS).unlink(), "holds no SHA256SUMS; restore it."),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], object], told: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=told):
        verify_checksums(folder, "restore it")
