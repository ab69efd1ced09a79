"""Arrow shards: written atomically, memory-mapped, and distributed among processes."""

import mmap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file
from asterisk.core.locks import locked

# Seconds between polls of the shards that other processes are making.
POLL_SECONDS = 0.5
# Every mapped shard takes a file descriptor; a process usually has 1,024.
MAX_MAPPED = 256

View = TypeVar("View")


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{index:05d}.arrow"


def write_shard(path: Path, table: pa.Table) -> None:
    """Write a table atomically, as one record batch, so that each column is contiguous in memory."""
    table = table.combine_chunks()
    # A Python file object raises readable errors for a full or broken disk.
    with atomic_file(path) as temporary, temporary.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


class MappedShard:
    """A memory-mapped shard.

    Attributes:
        path: The file.
        columns: The requested columns by name.
    """

    def __init__(self, path: Path, *names: str, validate: bool = True):
        """Map columns of a file.

        Args:
            path: The file.
            names: The columns.
            validate: Whether to read the whole file to check its offsets.

        Raises:
            UserError: The file is missing, or is not a shard with these columns.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            table = pa.ipc.open_file(pa.py_buffer(self._map)).read_all()
            # `combine_chunks` would copy even a single chunk into memory.
            self.columns: dict[str, pa.Array] = {name: table.column(name).chunk(0) for name in names}
            if validate:
                for column in self.columns.values():
                    column.validate(full=True)
                self.release()
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowInvalid) as error:
            raise UserError(f"{path} is missing or damaged ({error}); delete it and run the command again.") from None

    def release(self) -> None:
        """Drop the pages read so far from this process's memory; the system may keep them in its cache.

        Random reads would otherwise bring the whole store into memory.
        """
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)


class ShardCache(Generic[View]):
    """Maps shards when they are first read, and keeps the `MAX_MAPPED` most recently used."""

    def __init__(self, open_shard: Callable[[int], tuple[MappedShard, View]]):
        """Create an empty cache.

        Args:
            open_shard: Takes the index of a shard; returns the shard and the view of it that callers read.
        """
        self._open_shard = open_shard
        self._mapped: dict[int, tuple[MappedShard, View]] = {}

    def __getitem__(self, index: int) -> View:
        entry = self._mapped.pop(index, None) or self._open_shard(index)
        # The dictionary is ordered by last use.
        self._mapped[index] = entry
        if len(self._mapped) > MAX_MAPPED:
            del self._mapped[next(iter(self._mapped))]
        return entry[1]

    def release(self) -> None:
        """Drop the pages read so far from this process's memory."""
        for shard, _ in self._mapped.values():
            shard.release()


def shards_of(rows: Sequence[int] | np.ndarray, first_rows: np.ndarray) -> np.ndarray:
    """Return the index of the shard that holds each row, given the first row of each shard."""
    return np.searchsorted(first_rows, rows, side="right") - 1


def share_order(count: int, rank: int, world: int, help_others: bool = True) -> list[int]:
    """Return the order in which a rank makes shards: those with index `rank` modulo `world` first.

    Args:
        count: The number of shards.
        rank: The rank of this process.
        world: The number of processes.
        help_others: Whether the shards of the other ranks follow.

    Returns:
        The indices of the shards.
    """
    order = list(range(rank, count, world))
    if help_others:
        order += [index for index in range(count) if index % world != rank]
    return order


def share_shards(
    folder: Path,
    order: list[int],
    done: Callable[[int], bool],
    make: Callable[[int], None],
    progress: tqdm,
) -> None:
    """Make the missing shards together with all other processes that call this function.

    Only one process at a time makes a shard, under a lock that ends with the process. A process waits only while other
    processes make all remaining shards. It polls, since a collective operation would time out.

    Args:
        folder: The folder of the shards, on a file system that all processes share.
        order: The indices of the shards to make, in order.
        done: Returns whether the shard with an index exists.
        make: Makes the shard with an index.
        progress: Shows when this process is waiting.
    """
    while order:
        made_elsewhere = []
        for index in order:
            if done(index):
                continue
            with locked(folder / shard_name(index), wait=False) as acquired:
                if not acquired:
                    made_elsewhere.append(index)
                elif not done(index):
                    make(index)
        if made_elsewhere:
            progress.set_postfix_str("waiting for other processes")
            time.sleep(POLL_SECONDS)
        order = made_elsewhere
