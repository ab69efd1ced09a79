"""The hashes of a folder's files, by which it is known to be whole: a checkpoint, a download, an upload."""

import hashlib
from pathlib import Path

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Writes SHA256SUMS: `sha256sum --check SHA256SUMS` in the folder verifies it."""
    lines = [f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    with atomic_file(folder / CHECKSUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def verify_checksums(folder: Path, remedy: str) -> list[Path]:
    """The files that the folder's SHA256SUMS names, itself among them.

    Args:
        folder: What is to be whole.
        remedy: What to do if it is not.

    Raises:
        UserError: There is no SHA256SUMS, a file is missing or changed, or there is one that it does not name.
    """
    sums = folder / CHECKSUMS
    if not sums.is_file():
        raise UserError(f"{folder} holds no {CHECKSUMS}; {remedy}.")
    # Of what is damaged itself, no line fits.
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = {folder / name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _files(folder)
    for path in sorted(wanted.keys() | set(found)):
        if path not in found or path not in wanted or file_hash(path) != wanted[path]:
            state = "missing" if path not in found else "not in it" if path not in wanted else "changed since"
            raise UserError(f"{sums}: {path.relative_to(folder)} is {state}; {remedy}.")
    return [*found, sums]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
