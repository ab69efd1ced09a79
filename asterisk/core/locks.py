"""Locks between processes: hidden files beside the paths they guard, released when the holder ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from asterisk.core.errors import UserError
from asterisk.core.files import make_folder, remove_file, remove_temporary_files


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock for writing `path` and yield True; without `wait`, yield False if another process holds it.

    Callers must check `path` again once they hold the lock, since another process may have written it.

    Raises:
        UserError: The lock file cannot be created.
    """
    lock = FileLock(_lock_path(path))
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise UserError(f"{path} cannot be locked: {error.strerror or error}.") from error
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def creation_lock(folder: Path) -> Iterator[None]:
    """Create the parents of `folder`, and hold the lock for creating it.

    Afterwards, the lock file and empty parents are removed. Once they hold the lock, callers must check again whether
    the folder exists.

    Raises:
        UserError: A parent or the lock file cannot be created.
    """
    created = [parent for parent in folder.parents if not parent.exists()]
    make_folder(folder.parent)
    try:
        with locked(folder):
            try:
                yield
            finally:
                # Remove the file while holding the lock: a waiting process notices and recreates it.
                remove_lock(folder)
    finally:
        with suppress(OSError):  # a parent is not empty, or another process removed it
            for parent in created:
                parent.rmdir()


def remove_lock(folder: Path) -> None:
    """Remove the lock file that a killed process left beside a complete folder."""
    remove_file(_lock_path(folder))


def remove_leftovers(folder: Path) -> None:
    """Remove all locks and the temporary files of dead processes. Call it when the folder is complete."""
    remove_temporary_files(folder)
    for path in folder.glob(".*.lock"):
        remove_file(path)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
