"""Folders on disk that say what they were made from, and files that appear whole or not at all."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from asterisk.core.errors import UserError

MANIFEST = "manifest.json"


# Of safetensors and tokenizers, and of torch.save.
WRITE_ERRORS = ("os error", "inline_container", "iostream error")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; it takes the name `path` when the block ends without error."""
    # The name says whose it is, for `remove_leftovers`; a folder may be shared by machines.
    temporary = path.with_name(f".{path.name}.{node_name()}.{os.getpid()}.tmp")
    try:
        with report_write_errors(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path`; it takes the place of `path` when the block ends without error.

    After an error all is as it was: nothing is left, not even the parent folders that had to be made. A process that
    is killed may leave hidden folders, which the next one that makes `path` removes, but never half of `path`.
    """
    made = [parent for parent in path.parents if not parent.exists()]
    temporary, replaced = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    if replaced.exists() and not path.exists():  # killed between the two renamings
        replaced.rename(path)
    try:
        with report_write_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            shutil.rmtree(replaced, ignore_errors=True)
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def remove_folder(path: Path) -> None:
    """Removes a folder, under another name first: no half-deleted one is ever taken for a whole one."""
    gone = path.with_name(f".{path.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Makes a failure to write, by whatever library, a [`UserError`] that names `path`."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}.") from error
    except Exception as error:
        # Libraries in Rust and C++ have errors of their own for a full disk, known by their words alone.
        said = " ".join(str(error).split())
        if not any(sign in said for sign in WRITE_ERRORS):
            raise
        raise UserError(f"{path} could not be written; is the disk full? ({said[:200]})") from error


def remove_temporary_files(folder: Path) -> None:
    """Removes what processes that were killed had begun to write to a folder, those of other machines aside."""
    for path in folder.glob(".*.tmp"):
        *_, node, process, _ = path.name.rsplit(".", 3)
        if node == node_name() and process.isdigit() and not psutil.pid_exists(int(process)):
            remove_file(path)


def remove_file(path: Path) -> None:
    with suppress(OSError):  # in a folder that only others may write, it stays
        path.unlink(missing_ok=True)


def node_name() -> str:
    return platform.node().replace(".", "-")


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents, unless they are there.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def writable_folder(folder: Path) -> Path:
    """The folder, or ~/.cache/asterisk where it may not be written to: for files whose names tell them from others."""
    if os.access(folder, os.W_OK):
        return folder
    return cache_folder()


def cache_folder() -> Path:
    """Where files go that can be made again: ~/.cache/asterisk."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asterisk"


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, required: bool = True) -> Any:
    """Reads a JSON file of ours; gives None if it is missing and not required.

    Raises:
        UserError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not required:
            return None
        raise UserError(f"There is no {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from None
