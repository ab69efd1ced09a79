"""Small and read-only file systems; a test is skipped where its user may not mount them."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Constants of <sys/mount.h>.
MS_RDONLY, MS_REMOUNT, MS_BIND, MNT_DETACH = 1, 32, 4096, 2

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[None]:
    """A new folder whose files may take at most `size`, such as 64k."""
    folder.mkdir()
    if _libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()):
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        _libc.umount2(str(folder).encode(), MNT_DETACH)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, even for root."""
    path = str(folder).encode()
    if _libc.mount(path, path, None, MS_BIND, None):
        pytest.skip("file systems cannot be mounted here")
    try:
        if _libc.mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None):
            pytest.skip("file systems cannot be mounted for reading only here")
        yield
    finally:
        _libc.umount2(path, MNT_DETACH)


def enlarge(folder: Path, size: str) -> None:
    """Change the size of a [`small_file_system`]."""
    assert not _libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", MS_REMOUNT, f"size={size}".encode())
