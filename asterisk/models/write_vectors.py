"""Embed any number of texts into a NumPy file, with any number of processes.

Rows are in the order of the texts. Each of n processes reads all texts, embeds every nth chunk and writes its rows in
place. The file is renamed to its final name when all rows are written.
"""

import math
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from asterisk.core.errors import UserError
from asterisk.core.progress import progress_bar
from asterisk.core.vectors import BINARY_TYPES, SCALAR_TYPES, quantize, value_ranges
from asterisk.models.encoder import TextEncoder

# Texts that a process embeds at once: enough for batches of similar length.
CHUNK = 8_192


def write_embeddings(
    encoder: TextEncoder,
    texts: Callable[[], Iterator[str]],
    file: Path,
    processes: PartialState,
    batch_size: int = 128,
    dtype: str = "float32",
    ranges: np.ndarray | None = None,
) -> int:
    """Write the unit vectors of all texts, (number of texts, dimensions), to a file that `numpy.load` reads.

    Args:
        encoder: The model.
        texts: Returns a new iterator over the same texts at each call; a first pass counts them.
        file: The file to write; an existing one is replaced.
        processes: The state of the run's processes, which all call this function with the same arguments.
        batch_size: The maximum number of texts in a forward pass.
        dtype: "float32", "float16", or a type of [`asterisk.core.vectors.quantize`].
        ranges: The value ranges for int8 and uint8. By default those of the first `CHUNK` texts, which are written to
            [`ranges_file`], so that queries can be quantised in the same way.

    Returns:
        The number of texts.

    Raises:
        UserError: There are no texts, the only one is to be quantised without `ranges`, or the file cannot be written.
    """
    number = sum(1 for _ in texts())
    if not number:
        raise UserError("There are no texts to embed; give a file that holds some.")
    unfinished = file.with_name(f".{file.name}.unfinished")
    binary, scalar = dtype in BINARY_TYPES, dtype in SCALAR_TYPES
    width = -(-encoder.dimension // 8) if binary else encoder.dimension
    stored = np.dtype({"binary": "int8", "ubinary": "uint8"}.get(dtype, dtype))
    row_bytes = width * stored.itemsize
    measured = None
    if scalar and ranges is None:
        if number == 1:
            raise UserError(f"The {dtype} of one text needs --ranges, the value ranges of many.")
        if processes.is_main_process:
            measured = value_ranges(encoder.encode(list(islice(texts(), CHUNK)), batch_size))
        measured = ranges = broadcast_object_list([measured])[0]
    try:
        if processes.is_main_process:
            with unfinished.open("wb") as out:
                header = {"descr": stored.str, "fortran_order": False, "shape": (number, width)}
                np.lib.format.write_array_header_1_0(out, header)
                out.truncate(out.tell() + number * row_bytes)
        processes.wait_for_everyone()
        with unfinished.open("rb+") as out:
            first_row = unfinished.stat().st_size - number * row_bytes
            bar = progress_bar("Embedding", "texts", number, shown=processes.is_main_process)
            rest = texts()
            for index in range(math.ceil(number / CHUNK)):
                chunk = list(islice(rest, CHUNK))
                if index % processes.num_processes == processes.process_index:
                    vectors = encoder.encode(chunk, batch_size)
                    # The written pages of a memory map would count as this process's memory.
                    out.seek(first_row + index * CHUNK * row_bytes)
                    vectors = quantize(vectors, dtype, ranges) if binary or scalar else vectors.astype(dtype)
                    out.write(vectors.tobytes())
                bar.update(len(chunk))
            bar.close()
            out.flush()
            os.fsync(out.fileno())
        processes.wait_for_everyone()
        if processes.is_main_process:
            if measured is not None:
                np.save(ranges_file(file), measured)
            unfinished.replace(file)
    except OSError as error:
        raise UserError(f"{file} could not be written: {error.strerror or error}.") from error
    finally:
        if processes.is_main_process:
            unfinished.unlink(missing_ok=True)
    return number


def ranges_file(file: Path) -> Path:
    """Return the file of the value ranges beside a file of int8 or uint8 vectors."""
    return file.with_suffix(".ranges.npy")
