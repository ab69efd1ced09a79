"""Arrow shards: written whole, mapped into memory, made by several processes together."""

import mmap
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from tqdm.auto import tqdm

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file
from asterisk.core.locks import locked

# How often a process looks whether another has finished.
POLL_SECONDS = 0.5


def shard_name(index: int) -> str:
    """The file name of a shard."""
    return f"shard-{index:05d}.arrow"


def write_shard(path: Path, table: pa.Table) -> None:
    """Writes a table as one record batch, so that each column is one piece of memory, whole or not at all."""
    table = table.combine_chunks()
    # Through Python's file, whose errors say in words what is wrong with the disk.
    with atomic_file(path) as temporary, temporary.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


class MappedColumn:
    """A column of a shard, in place: reading it reads the disk.

    Attributes:
        values: The column.
    """

    def __init__(self, path: Path, name: str):
        """Maps the file.

        Raises:
            UserError: The file is missing or is not such a shard.
        """
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # Not `combine_chunks`, which copies even a single chunk into memory.
            self.values: pa.Array = pa.ipc.open_file(pa.py_buffer(self._map)).read_all().column(name).chunk(0)
            # Else offsets that point outside the file would be followed.
            self.values.validate(full=True)
            self.release()
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowInvalid) as error:
            raise UserError(f"{path} is missing or damaged ({error}); delete it and run the command again.") from None

    def release(self) -> None:
        """Takes what was read out of this process's memory; the system may keep it, and it can be read again.

        A store that is read at random would in the end be in memory whole.
        """
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)


def share_shards(
    paths: list[Path],
    done: Callable[[int], bool],
    make: Callable[[int], None],
    progress: tqdm,
    rank: int = 0,
    world: int = 1,
    help_others: bool = True,
) -> None:
    """Makes the shards that are missing, together with all processes that do the same.

    A shard is made by one process at a time, under a lock that dies with it. No process waits for another as long as
    there is a shard that nobody makes, and none waits in a collective operation, which would time out.

    Args:
        paths: The shards, on one file system that all the processes share.
        done: Whether a shard, by its index, is there.
        make: Makes a shard, by its index.
        progress: Says so when there is nothing to do but to wait.
        rank: This process begins with every shard whose index is `rank` modulo `world`.
        world: The number of processes.
        help_others: Whether to return only when the other ranks' shards are there, too.
    """
    waiting = list(range(rank, len(paths), world))
    if help_others:
        waiting += [index for index in range(len(paths)) if index % world != rank]
    while waiting:
        held = []
        for index in waiting:
            if done(index):
                continue
            with locked(paths[index], wait=False) as mine:
                if not mine:
                    held.append(index)
                elif not done(index):
                    make(index)
        if held:
            progress.set_postfix_str("waiting for other processes")
            time.sleep(POLL_SECONDS)
        waiting = held
