"""core.locks"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from asterisk.core.errors import UserError
from asterisk.core.files import make_folder, remove_file, remove_temporary_files


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock on making `path`; gives False if another process has it and `wait` is False.

    A lock dies with the process that holds it. What was true before it was got has to be looked at again.
    """
    lock = FileLock(lock_path(path))
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
    """Holds the lock on making `folder`, whose parents are made first; removes the lock, and parents that stay empty.

    Whoever waited for the lock has to look whether the folder is there now.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    make_folder(folder.parent)
    try:
        with locked(folder):
            try:
                yield
            finally:
                # While it is held: who waits for it notices, and makes it anew.
                remove_lock(folder)
    finally:
        with suppress(OSError):  # not empty, or removed by another
            for parent in made:
                parent.rmdir()


def remove_lock(folder: Path) -> None:
    """Removes the lock on making a folder that is there, which a killed process may leave."""
    remove_file(lock_path(folder))


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of dead processes, and all locks: call it when nothing is left to be made."""
    remove_temporary_files(folder)
    for path in folder.glob(".*.lock"):
        remove_file(path)


def lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
