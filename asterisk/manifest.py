"""Folders on disk that say what they were made from, and files that appear whole or not at all."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from asterisk.cli import UserError, without_secrets

MANIFEST = "manifest.json"
# What the folder of a training says of itself.
RUN = "run.json"
# Of safetensors and tokenizers, and of torch.save.
WRITE_ERRORS = ("os error", "inline_container", "iostream error")


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; it takes the name `path` when the block ends without error."""
    # The name says whose it is, for `remove_leftovers`; a folder may be shared by machines.
    temporary = path.with_name(f".{path.name}.{_node()}.{os.getpid()}.tmp")
    try:
        with writing(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
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
        with writing(path):
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
def writing(path: Path) -> Iterator[None]:
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


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock on making `path`; gives False if another process has it and `wait` is False.

    A lock dies with the process that holds it. What was true before it was got has to be looked at again.
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
def making(folder: Path) -> Iterator[None]:
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
    _remove_file(_lock_path(folder))


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of dead processes, and all locks: call it when nothing is left to be made."""
    remove_temporary_files(folder)
    for path in folder.glob(".*.lock"):
        _remove_file(path)


def remove_temporary_files(folder: Path) -> None:
    """Removes what processes that were killed had begun to write to a folder, those of other machines aside."""
    for path in folder.glob(".*.tmp"):
        *_, node, process, _ = path.name.rsplit(".", 3)
        if node == _node() and process.isdigit() and not psutil.pid_exists(int(process)):
            _remove_file(path)


def _remove_file(path: Path) -> None:
    with suppress(OSError):  # in a folder that only others may write, it stays
        path.unlink(missing_ok=True)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _node() -> str:
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


def writable(folder: Path) -> Path:
    """The folder, or ~/.cache/asterisk where it may not be written to: for files whose names tell them from others."""
    if os.access(folder, os.W_OK):
        return folder
    return cache_folder()


def cache_folder() -> Path:
    """Where files go that can be made again: ~/.cache/asterisk."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asterisk"


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as JSON, whole or not at all."""
    with appearing(path) as temporary:
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


def refuse_difference(path: Path | str, found: dict[str, Any], wanted: dict[str, Any], remedy: str) -> None:
    """Raises a [`UserError`] that names the first setting in which `found`, read from `path`, is not `wanted`.

    What an older version did not know of was not asked for; secrets of URLs are no setting.
    """
    found, wanted = without_secrets(found), without_secrets(wanted)
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name) and (name in found or wanted[name]):
            raise UserError(
                f"{path} was made with {name} = {_short(found.get(name))}, but "
                f"{_short(wanted.get(name))} is asked for; {remedy}."
            )


def check_folder(folder: Path, recipe: dict[str, Any], resume: bool) -> None:
    """Refuses a folder that is not free for, or already the place of, the run that `recipe` describes.

    What a run that was killed had begun to write there is removed.

    Raises:
        UserError: The folder holds another run, or this one and `resume` is not asked for, or things that are no run.
    """
    record = folder / RUN
    if record.exists():
        if not resume:
            raise UserError(f"{folder} holds a run already; continue it with --resume, or give another --output_dir.")
        recorded = read_json(record)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("recipe"), dict):
            raise UserError(f"{record} is not the record of a run, for it holds no recipe; give another --output_dir.")
        refuse_difference(folder, recorded["recipe"], recipe, "give another --output_dir, or the same recipe")
    elif folder.exists() and (not folder.is_dir() or not _is_free(folder)):
        raise UserError(f"{folder} is not empty and holds no run; give a new folder as --output_dir.")
    remove_temporary_files(folder)


def _is_free(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run may leave that is killed before it has written its record."""
    return all(entry.name == "store" or entry.match(f".{RUN}.*.tmp") for entry in folder.iterdir())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
