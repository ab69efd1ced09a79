"""Embed any number of texts into a NumPy file, one row per text.

    python embed.py texts.txt --model release/asterisk --output_file vectors.npy
    python embed.py reviews.parquet --text_column review --model release/asterisk --output_file vectors.npy
    accelerate launch --num_processes 4 embed.py texts.txt --model release/asterisk --output_file vectors.npy

Texts come from text files (a text per line), tables, folders, patterns or Hub datasets, and keep their order; an empty
line counts as a text. The vectors have unit length; read them with `numpy.load("vectors.npy", mmap_mode="r")`.
Each batch is written at once, so memory does not grow with the texts. The file appears when it is complete. To start
several processes on CPUs, run `ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 embed.py ...`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.data.arguments import FileFormat

DTYPES = ("float32", "float16")


@dataclass
class TextArguments:
    """Texts: the texts to embed."""

    texts: list[str] = option([], "files, folders, patterns or Hub datasets; may stand first, without the flag")
    text_column: str = option("text", "column of the tables that holds the text")


@dataclass
class ModelArguments:
    """Model: the encoder, and how it computes."""

    model: str = option("", "any model that evaluate_mteb.py takes: a folder, a Hub id, a file.onnx")
    truncate_dim: int | None = option(None, "keep only this many leading dimensions")
    precision: str = option("float32", "float32, bfloat16 or auto")
    batch_size: int = option(128, "texts per forward pass")
    trust_remote_code: bool = option(False, "run the code that comes with the model")


@dataclass
class OutputArguments:
    """Output: the file of vectors."""

    output_file: str = option("", "the file to write; ends in .npy")
    dtype: str = option("float32", "type of the numbers: float32 or float16")


@dataclass
class EmbedArguments(OutputArguments, ModelArguments, FileFormat, TextArguments):
    """All arguments of embed.py."""


@entry_point
def main() -> None:
    """Check the arguments and embed."""
    arguments = parse_arguments(EmbedArguments, __doc__ or "", first="texts")
    check(arguments)
    from asterisk.core.processes import this_process
    from asterisk.data.readers import files_of, read_texts
    from asterisk.models.load import load_encoder
    from asterisk.models.write_vectors import write_embeddings

    files = [file for source in arguments.texts for file in files_of(source)]

    def texts() -> Iterator[str]:
        for file in files:
            yield from read_texts(file, arguments.text_column, arguments)

    processes = this_process()
    encoder = load_encoder(
        arguments.model,
        truncate_dim=arguments.truncate_dim,
        precision=arguments.precision,
        device=str(processes.device),
        trust_remote_code=arguments.trust_remote_code,
    )
    output = Path(arguments.output_file)
    number = write_embeddings(encoder, texts, output, processes, arguments.batch_size, arguments.dtype)
    if processes.is_main_process:
        print(f"{number:,} vectors of {encoder.dimension} dimensions are in {output}.")


def check(arguments: EmbedArguments) -> None:
    """Refuse wrong arguments before anything is loaded."""
    for name, example in (("texts", "texts.txt"), ("model", "release/asterisk"), ("output_file", "vectors.npy")):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing, such as {example}; --help shows whole commands.")
    output = Path(arguments.output_file)
    if output.suffix != ".npy":
        raise UserError(f"--output_file must end in .npy, unlike {output}.")
    if not output.parent.is_dir():
        raise UserError(f"There is no folder {output.parent} to write {output.name} to; make it first.")
    if arguments.dtype not in DTYPES:
        raise UserError(f"--dtype must be float32 or float16, not {arguments.dtype!r}.")
    if arguments.batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, not {arguments.batch_size}.")


if __name__ == "__main__":
    main()
