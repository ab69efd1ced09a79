"""Embed any number of texts into a NumPy file, one row per text.

    python embed.py texts.txt --model release/asterisk --output_file vectors.npy
    python embed.py reviews.parquet --text_column review --model release/asterisk --output_file vectors.npy
    python embed.py texts.txt --model release/asterisk --output_file bits.npy --dtype binary
    accelerate launch --num_processes 4 embed.py texts.txt --model release/asterisk --output_file vectors.npy

Texts come from text files (a text per line), tables, folders, patterns or Hub datasets, and keep their order; an empty
line counts as a text. The vectors have unit length; read them with `numpy.load("vectors.npy", mmap_mode="r")`.
Each chunk is written immediately, so memory does not grow with the texts. The file appears when it is complete. For
several processes on CPUs, run `ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 embed.py ...`. The types int8,
uint8 (a byte per dimension), binary and ubinary (a bit per dimension) are those of sentence-transformers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.vectors import BINARY_TYPES, SCALAR_TYPES, read_ranges
from asterisk.data.arguments import FileFormat
from asterisk.models.arguments import EncoderArguments

DTYPES = ("float32", "float16", *SCALAR_TYPES, *BINARY_TYPES)


@dataclass
class TextArguments:
    """Texts: the texts to embed."""

    texts: list[str] = option(
        [], "files, folders, patterns or Hub datasets; may come first, without the flag", required=True
    )
    text_column: str = option("text", "column of the tables that holds the text")
    batch_size: int = option(128, "texts per forward pass", least=1)


@dataclass
class OutputArguments:
    """Output: the file of vectors."""

    output_file: str = option("", "the file to write; ends in .npy", required=True)
    dtype: str = option("float32", f"type of the numbers: {', '.join(DTYPES)}", choices=DTYPES)
    ranges: str = option(
        "", "for int8 and uint8, the value ranges of an earlier file (default: those of the first 8,192 texts)"
    )


@dataclass
class EmbedArguments(OutputArguments, EncoderArguments, FileFormat, TextArguments):
    """All arguments of embed.py."""


@entry_point
def main() -> None:
    """Check the arguments and embed."""
    arguments = parse_arguments(EmbedArguments, __doc__ or "", first="texts")
    check(arguments)
    from asterisk.core.processes import this_process
    from asterisk.data.readers import files_of, read_texts
    from asterisk.models.load import load_encoder
    from asterisk.models.write_vectors import ranges_file, write_embeddings

    files = [file for source in arguments.texts for file in files_of(source)]

    def texts() -> Iterator[str]:
        for file in files:
            yield from read_texts(file, arguments.text_column, arguments)

    processes = this_process()
    arguments.device = arguments.device or str(processes.device)
    encoder = load_encoder(
        arguments.model,
        truncate_dim=arguments.truncate_dim,
        layers=arguments.layers,
        **arguments.loading_options(),
    )
    output = Path(arguments.output_file)
    ranges = read_ranges(Path(arguments.ranges), encoder.dimension) if arguments.ranges else None
    number = write_embeddings(encoder, texts, output, processes, arguments.batch_size, arguments.dtype, ranges)
    if processes.is_main_process:
        print(f"{number:,} vectors of {encoder.dimension} dimensions are in {output}.")
        if arguments.dtype in SCALAR_TYPES and ranges is None:
            print(f"Their value ranges are in {ranges_file(output)}; give this file as --ranges for queries.")


def check(arguments: EmbedArguments) -> None:
    """Refuse a wrong output file before anything is loaded."""
    output = Path(arguments.output_file)
    if output.suffix != ".npy":
        raise UserError(f"--output_file must end in .npy, unlike {output}.")
    if not output.parent.is_dir():
        raise UserError(f"There is no folder {output.parent} to write {output.name} to; create it first.")
    if arguments.ranges and arguments.dtype not in SCALAR_TYPES:
        raise UserError(f"--ranges needs --dtype {' and '.join(SCALAR_TYPES)}, not {arguments.dtype}.")


if __name__ == "__main__":
    main()
