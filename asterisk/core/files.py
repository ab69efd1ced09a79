"""Files and folders that appear complete or not at all, and JSON."""

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

# How errors of safetensors, tokenizers and torch.save mention a disk; their classes do not tell.
_DISK_ERROR_SIGNS = ("os error", "inline_container", "iostream error")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` if the block ends without an error."""
    # `remove_temporary_files` reads the writer from the name: machines may share the folder.
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

    After an error everything is as before; parent folders that were created are removed again. A killed process may
    leave hidden folders, which the next writer of `path` removes, but never half of `path`.
    """
    created = [parent for parent in path.parents if not parent.exists()]
    temporary, replaced = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    if replaced.exists() and not path.exists():  # a process was killed between the two renamings
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
    """Remove a folder. It is renamed first, so that a half-deleted folder is never taken for a complete one."""
    renamed = path.with_name(f".{path.name}.gone")
    shutil.rmtree(renamed, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(renamed)
    shutil.rmtree(renamed, ignore_errors=True)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Convert any library's failure to write into a [`UserError`] that names `path`."""
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
    """Remove the files that killed processes of this machine were writing to the folder."""
    for path in folder.glob(".*.tmp"):
        *_, node, process, _ = path.name.rsplit(".", 3)
        if node == _node_name() and process.isdigit() and not psutil.pid_exists(int(process)):
            remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a file, unless it is missing or the folder is read-only."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        UserError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error


def writable_folder(folder: Path) -> Path:
    """Return the folder, or the cache folder if it is read-only. File names must be unique across folders."""
    return folder if os.access(folder, os.W_OK) else cache_folder()


def cache_folder() -> Path:
    """Return ~/.cache/asterisk, the folder of files that can be recomputed."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asterisk"


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, complete or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, required: bool = True) -> Any:
    """Read a JSON file; return None if it is missing and not required.

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


def _node_name() -> str:
    return platform.node().replace(".", "-")
