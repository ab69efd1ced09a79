"""A folder of files at a local path or an fsspec URL; files at a URL are copied into a local folder.

All copies are in ~/.cache/asterisk. The environment variable ASTERISK_CACHE_GB limits their size.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError, one_line, redact
from asterisk.core.files import atomic_file, cache_folder, make_folder, read_json, remove_file, write_json
from asterisk.core.locks import locked

CACHE_LIMIT = "ASTERISK_CACHE_GB"
BYTES_PER_GB = 10**9


class RemoteFolder:
    """A flat folder of files, at a URL or a local path.

    Attributes:
        name: The path or URL.
        local: The folder itself, or the local folder with copies of a URL's files.
        system: The file system of a URL; None for a local path.
    """

    def __init__(self, location: Path | str):
        """Resolve a path or URL without accessing it.

        Raises:
            UserError: The protocol is unknown, or its package is not installed.
        """
        self.name = str(location).rstrip("/")
        self.system: fsspec.AbstractFileSystem | None = None
        self._is_made = False
        if isinstance(location, Path) or "://" not in self.name:
            self.local = Path(location)
            return
        with self._report_errors():
            system, self._root = fsspec.url_to_fs(self.name)
        if isinstance(system, LocalFileSystem):
            self.local = Path(self._root)
            return
        self.system = system
        self.local = cache_folder() / hashlib.sha256(redact(self.name).encode()).hexdigest()[:16]

    def names(self) -> set[str]:
        """Return the names in the folder; none if it does not exist."""
        with self._report_errors():
            try:
                if self.system is None:
                    return set(os.listdir(self.local))
                # A cached listing may lack newer files of other machines.
                self.system.invalidate_cache()
                return {path.rstrip("/").rpartition("/")[2] for path in self.system.ls(self._root, detail=False)}
            except FileNotFoundError:
                return set()

    def exists(self, name: str) -> bool:
        """Return whether the file exists."""
        if self.system is None:
            return (self.local / name).is_file()
        with self._report_errors(name):
            return self.system.isfile(f"{self._root}/{name}")

    def read_json(self, name: str) -> Any:
        """Read a JSON file; return None if it does not exist.

        Raises:
            UserError: The file is not JSON, or the folder cannot be reached.
        """
        if self.system is None:
            # Access the file only once: another process may create or remove it at any time.
            return read_json(self.local / name, required=False)
        with self._report_errors(name):
            try:
                return json.loads(self.system.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None
            except (ValueError, RecursionError) as error:
                raise UserError(f"{self.name}/{name} cannot be read as JSON: {error}.") from None

    def write_json(self, name: str, content: Any) -> None:
        """Write `content` as JSON, atomically."""
        if self.system is None:
            write_json(self.local / name, content)
            return
        with self._report_errors(name):
            if not self._is_made:
                self.system.makedirs(self._root, exist_ok=True)
                self._is_made = True
            # Write the same bytes as to a disk.
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            self.system.pipe_file(f"{self._root}/{name}", text.encode())

    def upload(self, name: str) -> None:
        """Copy a file from the local folder to the URL; a local path needs no copy."""
        if self.system is not None:
            with self._report_errors(name):
                self.system.put_file(str(self.local / name), f"{self._root}/{name}")
            _remove_copies(_cache_limit())

    def reserve(self) -> None:
        """Make room for copies of all files at the URL: remove copies of other URLs, the oldest first.

        Raises:
            UserError: The files take more than the cache may hold.
        """
        if self.system is None or (limit := _cache_limit()) == math.inf:
            return
        with self._report_errors():
            needed = sum(entry["size"] for entry in self.system.ls(self._root, detail=True))
        if needed > limit:
            raise UserError(
                f"{self.name} takes {needed / BYTES_PER_GB:.3g} GB in {cache_folder()}, which may hold "
                f"{limit / BYTES_PER_GB:.3g} ({CACHE_LIMIT}); raise the limit, or copy the store to a disk."
            )
        _remove_copies(limit - needed, kept=self.local)

    def fetch(self, name: str, sha256: str) -> Path:
        """Return the local path of a file with this checksum, copied from the URL if necessary.

        Raises:
            UserError: The file is missing or has another checksum.
        """
        path = self.local / name
        if _matches(path, sha256):
            return path
        if self.system is not None:
            make_folder(self.local)
            with locked(path):
                if not _matches(path, sha256) and self.exists(name):
                    with self._report_errors(name), atomic_file(path) as temporary:
                        self.system.get_file(f"{self._root}/{name}", str(temporary))
            if _matches(path, sha256):
                return path
        raise UserError(
            f"{self.name}/{name} is missing or damaged; delete it and run the command that made the store again."
        )

    def remove(self, names: list[str]) -> None:
        """Remove files, unless other processes have removed them already."""
        for name in names:
            if self.system is None:
                (self.local / name).unlink(missing_ok=True)
                continue
            with self._report_errors(name):
                try:
                    self.system.rm_file(f"{self._root}/{name}")
                except FileNotFoundError:
                    continue

    @contextmanager
    def _report_errors(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol raises its own errors
            where = f"{self.name}/{name}" if name else self.name
            raise UserError(f"{where} cannot be reached: {one_line(error).rstrip('.')}.") from error


def _matches(path: Path, sha256: str) -> bool:
    return path.is_file() and file_hash(path) == sha256


def _cache_limit() -> float:
    """Return how many bytes the copies may take."""
    text = os.environ.get(CACHE_LIMIT) or "inf"
    try:
        return float(text) * BYTES_PER_GB
    except ValueError:
        raise UserError(f"{CACHE_LIMIT} must be a number of GB, not {text!r}.") from None


def _remove_copies(limit: float, kept: Path | None = None) -> None:
    """Remove the oldest shards outside the folder `kept` until they take at most `limit` bytes."""
    if limit == math.inf:
        return
    copies = []
    for path in cache_folder().glob("*/shard-*.arrow"):
        with suppress(FileNotFoundError):  # another process has removed it
            copies.append((path.stat().st_mtime, path.stat().st_size, path))
    used = sum(size for _, size, path in copies if path.parent != kept)
    for _, size, path in sorted(copies):
        if used > limit and path.parent != kept:
            remove_file(path)
            used -= size
