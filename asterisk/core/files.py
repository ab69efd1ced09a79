"""Atomic files and folders, and JSON."""

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

# Words in the disk errors of safetensors, tokenizers and torch.save, whose exception classes are not specific.
_DISK_ERROR_SIGNS = ("os error", "inline_container", "iostream error")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` if the block ends without an error."""
    # The name identifies the process and its machine, so that `remove_temporary_files` spares files in use.
    temporary = path.with_name(f".{path.name}.{_node_name()}.{os.getpid()}.tmp")
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
    """Yield a temporary folder beside `path`; it replaces `path` if the block ends without an error.

    After an error, the previous state is restored and created parents are removed. A killed process never leaves a
    partial `path`, only hidden folders that the next writer removes.
    """
    created = [parent for parent in path.parents if not parent.exists()]
    temporary, replaced = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    if replaced.exists() and not path.exists():  # a process was killed between the two renames
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
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder. Renaming it first ensures that a half-deleted folder never looks complete."""
    renamed = path.with_name(f".{path.name}.gone")
    shutil.rmtree(renamed, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(renamed)
    shutil.rmtree(renamed, ignore_errors=True)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Convert a write error of any library into a [`UserError`] that names `path`."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}.") from error
    except Exception as error:
        message = " ".join(str(error).split())
        if not any(sign in message for sign in _DISK_ERROR_SIGNS):
            raise
        raise UserError(f"{path} could not be written; is the disk full? ({message[:200]})") from error


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in the folder."""
    for path in folder.glob(".*.tmp"):
        *_, node, process, _ = path.name.rsplit(".", 3)
        if node == _node_name() and process.isdigit() and not psutil.pid_exists(int(process)):
            remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a file, unless it is missing or the folder is read-only."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist; raise a [`UserError`] if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be created: {error.strerror or error}.") from error


def writable_folder(folder: Path) -> Path:
    """Return the folder, or the cache folder if it is read-only; all callers share the cache, so use unique names."""
    return folder if os.access(folder, os.W_OK) else cache_folder()


def cache_folder() -> Path:
    """Return the folder for recomputable files: ~/.cache/asterisk by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asterisk"


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, required: bool = True) -> Any:
    """Read a JSON file; return None if it is missing and not `required`.

    Raises:
        UserError: The file is missing and `required`, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not required:
            return None
        raise UserError(f"There is no {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from None


def _node_name() -> str:
    return platform.node().replace(".", "-")
