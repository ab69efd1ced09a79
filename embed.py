"""Embeds any number of texts into a NumPy file, a row a text.

    python embed.py texts.txt --model release/asterisk --output_file vectors.npy
    python embed.py reviews.parquet --text_column review --model release/asterisk --output_file vectors.npy
    accelerate launch --num_processes 4 embed.py texts.txt --model release/asterisk --output_file vectors.npy

Texts come from text files (a text a line), tables, folders, patterns or Hub datasets, and stay in their order; an
empty line is a text like any other. The vectors are of unit length: `numpy.load("vectors.npy", mmap_mode="r")`. They
are written as they come, so that memory does not grow with the texts, and the file appears when all are there. Several
processes on CPUs are started by `ACCELERATE_USE_CPU=true torchrun --nproc-per-node 2 embed.py ...`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point

DTYPES = ("float32", "float16")


@dataclass
class EmbedArguments:
    """What is embedded, by which model, and where the vectors go."""

    texts: list[str] = field(
        default_factory=list,
        metadata={"help": "files, folders, patterns or Hub datasets; may stand first, without their flag"},
    )
    text_column: str = field(default="text", metadata={"help": "the tables' column that holds the text"})
    model: str = field(
        default="", metadata={"help": "any that evaluate_mteb.py takes: a folder, a Hub id, a file.onnx"}
    )
    output_file: str = field(default="", metadata={"help": "where the vectors go; ends in .npy"})
    truncate_dim: int | None = field(default=None, metadata={"help": "keep only the first so many dimensions"})
    dtype: str = field(default="float32", metadata={"help": "of the file: float32 or float16"})
    precision: str = field(default="float32", metadata={"help": "of the model: float32, bfloat16 or auto"})
    batch_size: int = field(default=128, metadata={"help": "texts of one forward pass"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run the code that comes with a model"})


@entry_point
def main() -> None:
    """Embeds."""
    argv = sys.argv[1:]
    if argv and not argv[0].startswith("-"):
        argv = ["--texts", *argv]
    arguments = parse_arguments(EmbedArguments, __doc__ or "", argv)
    check(arguments)
    from asterisk.core.processes import this_process
    from asterisk.data.readers import files_of, read_texts
    from asterisk.models.load import load_encoder
    from asterisk.models.write_vectors import write_embeddings

    files = [file for source in arguments.texts for file in files_of(source)]

    def texts() -> Iterator[str]:
        for file in files:
            yield from read_texts(file, arguments.text_column)

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
    """Refuses what cannot be done, before anything is loaded."""
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
