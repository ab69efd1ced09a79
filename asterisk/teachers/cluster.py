"""Embeds a corpus with a teacher on a cluster, driven by datatrove (pip install '.[cluster]').

    python -m asterisk.teachers.cluster --corpus texts/ --teacher T --store_dir /shared/store --tasks 8 --workers 2
    python -m asterisk.teachers.cluster --corpus texts/ --teacher BAAI/bge-m3 --store_dir /shared/store --tasks 64 \\
        --executor slurm --partition gpu --time 10:00:00 --gpus_per_task 1
    python -m asterisk.teachers.cluster --corpus texts/ --teacher BAAI/bge-m3 --store_dir s3://bucket/store --tasks 9 \\
        --corpus_dir /shared/corpus --executor ray --gpus_per_task 1

The sentences are read once, here; then each task embeds its share of the shards, and the last one completes the store.
The same command again does only what is missing. The second is for a login node: it submits a job array and returns;
`squeue --me` shows it. Its tasks run what STORE_DIR/logs/executor.pik says: give a store that only you can write to.
The third is for a Ray cluster's head (pip install 'ray[default]'; `ray job submit -- ...`).
Workers on one machine share its processors: OMP_NUM_THREADS says how many each takes. The store is what
train_distill.py makes, and what it reads with the same corpus, teacher and --store_dir.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point, redact
from asterisk.data.arguments import CorpusArguments
from asterisk.data.corpus import Corpus, build_corpus, corpus_options, describe_counts
from asterisk.teachers.remote_folder import Place
from asterisk.teachers.store import EmbeddingStore, embed_shards
from asterisk.teachers.teacher import Teacher, load_teacher


@dataclass
class ClusterArguments(CorpusArguments):
    """What is embedded, and by whom."""

    teacher: str = field(
        default="",
        metadata={"help": "an encoder (folder, Hub id or package:NAME), vectors:PATH or api:MODEL"},
    )
    teacher_pooling: str = field(
        default="mean", metadata={"help": "mean, cls, max or lasttoken: for a teacher that does not say itself"}
    )
    teacher_dtype: str = field(default="auto", metadata={"help": "auto, float32 or bfloat16"})
    store_dir: str = field(default="", metadata={"help": "where the store goes: a folder that all see, or a URL"})
    corpus_dir: str = field(
        default="", metadata={"help": "where the sentences go: a folder that all see (default: STORE_DIR/corpus)"}
    )
    executor: str = field(default="local", metadata={"help": "local, slurm or ray"})
    tasks: int = field(default=1, metadata={"help": "parts of the work"})
    workers: int = field(default=-1, metadata={"help": "tasks at the same time; -1 for all"})
    cpus_per_task: int = field(default=4, metadata={"help": "slurm, ray: processors of each task"})
    mem_per_cpu_gb: int = field(default=4, metadata={"help": "slurm, ray: memory for each processor, in GB"})
    gpus_per_task: int = field(default=0, metadata={"help": "slurm, ray: GPUs of each task"})
    partition: str = field(default="", metadata={"help": "slurm: the partition"})
    time: str = field(default="24:00:00", metadata={"help": "slurm: the longest time of a task"})
    qos: str = field(default="", metadata={"help": "slurm: the quality of service, if the cluster asks for one"})


@dataclass
class EmbedShards:
    """A datatrove pipeline step that embeds its rank's shards of a corpus.

    Args:
        corpus: The sentences, in a folder that every worker sees.
        location: The path or URL of the store.
        load_teacher: Loads the teacher on a torch device, or, for None, on the best there is; it has to pickle.
    """

    corpus: Corpus
    location: str
    load_teacher: Callable[[str | None], Teacher]

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Called by datatrove, which passes on nothing (`data`) to the first step."""
        gpus = torch.cuda.device_count()
        teacher = self.load_teacher(f"cuda:{rank % gpus}" if gpus else None)
        embed_shards(self.corpus, teacher, self.location, rank, world_size)


def make_executor(step: EmbedShards, arguments: ClusterArguments) -> Any:
    """The datatrove executor that the arguments ask for, ready to `run`."""
    from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor

    common = {
        "pipeline": [step],
        "tasks": arguments.tasks,
        "workers": arguments.workers,
        "logging_dir": f"{arguments.store_dir}/logs",
        # What is done is for the store to say, shard by shard.
        "skip_completed": False,
    }
    if arguments.executor == "local":
        return LocalPipelineExecutor(**common)
    common |= {
        "cpus_per_task": arguments.cpus_per_task,
        "mem_per_cpu_gb": arguments.mem_per_cpu_gb,
        "gpus_per_task": arguments.gpus_per_task,
    }
    if arguments.executor == "ray":
        return RayPipelineExecutor(**common)
    return SlurmPipelineExecutor(
        **common,
        job_name="asterisk-embed",
        partition=arguments.partition,
        time=arguments.time,
        qos=arguments.qos,
        venv_path=f"{sys.prefix}/bin/activate" if sys.prefix != sys.base_prefix else None,
    )


@entry_point
def main() -> None:
    """Reads the corpus and runs or submits the tasks."""
    arguments = parse_arguments(ClusterArguments, __doc__ or "")
    check(arguments)
    place = Place(arguments.store_dir)
    if place.remote is None:
        # A worker's working directory may be another.
        arguments.store_dir = str(place.folder.resolve())
    if Path(arguments.teacher).is_dir():
        arguments.teacher = str(Path(arguments.teacher).resolve())
    corpus_folder = Path(arguments.corpus_dir or f"{arguments.store_dir}/corpus").resolve()
    teacher = partial(load_teacher, arguments.teacher, arguments.teacher_dtype, arguments.teacher_pooling)
    corpus = build_corpus(arguments.corpus, corpus_folder, **corpus_options(arguments))
    print(f"Corpus: {corpus.num_sentences:,} sentences ({describe_counts(corpus.counts)}).")
    make_executor(EmbedShards(corpus, arguments.store_dir, teacher), arguments).run()
    if arguments.executor != "slurm":
        store = EmbeddingStore(arguments.store_dir)
        print(f"The store is complete: {len(store):,} sentences in {arguments.store_dir}.")


def check(arguments: ClusterArguments) -> None:
    """Refuses arguments that cannot work.

    Raises:
        UserError: One is missing or out of range, or datatrove, or for its executor Ray, is not installed.
    """
    if importlib.util.find_spec("datatrove") is None:
        raise UserError("Embedding on a cluster needs datatrove; pip install '.[cluster]' installs it.")
    for name in ("corpus", "teacher", "store_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing.")
    if arguments.executor not in ("local", "slurm", "ray"):
        raise UserError(f"--executor must be local, slurm or ray, not {arguments.executor!r}.")
    if arguments.executor == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError("--executor ray needs Ray; pip install 'ray[default]' installs it.")
    if arguments.executor == "slurm" and not arguments.partition:
        raise UserError("--partition is missing; `sinfo` lists those of the cluster.")
    if arguments.tasks < 1 or arguments.workers == 0 or arguments.workers < -1:
        raise UserError("--tasks must be at least 1, and --workers at least 1, or -1 for as many as tasks.")
    if redact(arguments.store_dir) != arguments.store_dir:
        raise UserError(
            "--store_dir holds a password or key, which datatrove would write to the store's logs; leave it to the "
            "protocol's own settings on the workers, such as AWS_ACCESS_KEY_ID."
        )
    if Place(arguments.store_dir).remote is not None and not arguments.corpus_dir:
        raise UserError("With a URL as --store_dir, --corpus_dir must name a folder that all workers see.")


if __name__ == "__main__":
    # Workers import the step from this module's own name, which is not what it is running under.
    from asterisk.teachers.cluster import main as run

    run()
