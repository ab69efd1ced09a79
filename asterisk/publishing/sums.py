"""The hashes of a published folder's files, by which a download or an upload is known to be whole."""

from pathlib import Path

from asterisk.cli import UserError
from asterisk.manifest import file_hash

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS: `sha256sum --check SHA256SUMS` in the folder verifies it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    for file in files:
        file.chmod(0o644)  # safetensors are written for their owner's eyes only
    lines = [f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> list[Path]:
    """The files that the folder's SHA256SUMS names, itself among them.

    Raises:
        UserError: There is none, a file is missing or changed, or there is one that it does not name.
    """
    if not (folder / SUMS).is_file():
        raise UserError(f"{folder} holds no {SUMS}; give a folder that publish.py made.")
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    wanted = {folder / name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {path for path in folder.rglob("*") if path.is_file() and path.name != SUMS}
    for path in sorted(wanted.keys() | found):
        if path not in found or path not in wanted or file_hash(path) != wanted[path]:
            state = "missing" if path not in found else "not in it" if path not in wanted else "changed since"
            raise UserError(f"{folder / SUMS}: {path.relative_to(folder)} is {state}; publish the checkpoint again.")
    return [*sorted(found), folder / SUMS]
