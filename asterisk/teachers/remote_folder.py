"""Where a store lies: a folder, or any fsspec URL together with a local folder that holds copies of its files."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError, redact
from asterisk.core.files import atomic_file, cache_folder, make_folder, read_json, write_json
from asterisk.core.locks import locked


class Place:
    """A flat folder of files, local or remote.

    Attributes:
        name: The path or URL.
        folder: The local folder: the place itself, or the copies, which are fetched once and kept.
        remote: The file system of a remote place; None for a local one.
    """

    def __init__(self, location: Path | str):
        """Resolves a path or URL; touches nothing.

        Raises:
            UserError: There is no such protocol, or its package is not installed.
        """
        self.name = str(location).rstrip("/")
        self.remote: fsspec.AbstractFileSystem | None = None
        if isinstance(location, Path) or "://" not in self.name:
            self.folder = Path(location)
            return
        with self._reaching():
            system, self._root = fsspec.url_to_fs(self.name)
        if isinstance(system, LocalFileSystem):
            self.folder = Path(self._root)
            return
        self.remote = system
        self.folder = cache_folder() / hashlib.sha256(redact(self.name).encode()).hexdigest()[:16]

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.remote is None:
            return (self.folder / name).is_file()
        with self._reaching():
            return self.remote.isfile(f"{self._root}/{name}")

    def read_json(self, name: str) -> Any:
        """The content of a JSON file; None if there is no such file.

        Raises:
            UserError: It is not JSON, or the place cannot be reached.
        """
        path = self.folder / name
        if self.remote is None:
            # One look alone: another process may make or remove it between two.
            return read_json(path, required=False)
        with self._reaching():
            try:
                return json.loads(self.remote.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None
            except (ValueError, RecursionError) as error:
                raise UserError(f"{self.name}/{name} cannot be read as JSON: {error}.") from None

    def write_json(self, name: str, content: Any) -> None:
        """Writes `content` as JSON, whole or not at all."""
        if self.remote is None:
            write_json(self.folder / name, content)
            return
        with self._reaching():
            self.remote.makedirs(self._root, exist_ok=True)
            self.remote.pipe_file(f"{self._root}/{name}", json.dumps(content, ensure_ascii=False).encode())

    def upload(self, name: str) -> None:
        """Brings a file of the local folder to where it belongs."""
        if self.remote is not None:
            with self._reaching():
                self.remote.put_file(str(self.folder / name), f"{self._root}/{name}")

    def fetch(self, name: str, sha256: str) -> Path:
        """The local path of a file with these contents, fetched if need be.

        Raises:
            UserError: It is missing or has other contents.
        """
        path = self.folder / name
        if _holds(path, sha256):
            return path
        if self.remote is not None:
            make_folder(self.folder)
            with locked(path):
                if not _holds(path, sha256) and self.exists(name):
                    with self._reaching(), atomic_file(path) as temporary:
                        self.remote.get_file(f"{self._root}/{name}", str(temporary))
            if _holds(path, sha256):
                return path
        raise UserError(
            f"{self.name}/{name} is missing or damaged; delete it and run the command that made the store again."
        )

    def remove(self, pattern: str) -> None:
        """Removes the files whose names match a glob pattern, as far as other processes have not."""
        if self.remote is None:
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
            return
        with self._reaching():
            for found in self.remote.glob(f"{self._root}/{pattern}"):
                try:
                    self.remote.rm_file(found)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol has errors of its own
            raise UserError(f"{self.name} cannot be reached: {' '.join(str(error).split())[:300]}.") from error


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and file_hash(path) == sha256
