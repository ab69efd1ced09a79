"""SHA256SUMS: the SHA-256 of each file in a folder, which reveals missing and damaged files."""

import hashlib
from pathlib import Path

from asterisk.core.errors import UserError
from asterisk.core.files import write_text

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS in the format that `sha256sum --check` reads."""
    write_text(folder / CHECKSUMS, "".join(checksum_line(path, folder) for path in _files(folder)))


def checksum_line(path: Path, folder: Path) -> str:
    """Return the line of a file in SHA256SUMS."""
    return f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n"


def verify_checksums(folder: Path, remedy: str) -> list[Path]:
    """Check each file of the folder against SHA256SUMS.

    Args:
        folder: The folder, with its subfolders.
        remedy: What to do about a mismatch; it ends the error message.

    Returns:
        The files listed in SHA256SUMS, and SHA256SUMS itself.

    Raises:
        UserError: A file is missing, changed or not listed.
    """
    checksums = folder / CHECKSUMS
    if not checksums.is_file():
        raise UserError(f"{folder} holds no {CHECKSUMS}; {remedy}.")
    # If SHA256SUMS itself is damaged, no line matches.
    lines = checksums.read_text(encoding="utf-8", errors="replace").splitlines()
    expected = {folder / name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _files(folder)
    for path in sorted(expected.keys() | set(found)):
        if path not in found or path not in expected or file_hash(path) != expected[path]:
            state = "is missing" if path not in found else "is not listed" if path not in expected else "has changed"
            raise UserError(f"{checksums}: {path.relative_to(folder)} {state}; {remedy}.")
    return [*found, checksums]


def file_hash(path: Path) -> str:
    """Compute the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
