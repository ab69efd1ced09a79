"""The step that embeds one task's shards, and the datatrove executors that run it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor

from asterisk.data.corpus import Corpus
from asterisk.teachers.arguments import ExecutorArguments
from asterisk.teachers.embed_corpus import embed_shards
from asterisk.teachers.teacher import Teacher


@dataclass
class EmbedShards:
    """A datatrove pipeline step that embeds its rank's shards of a corpus.

    Args:
        corpus: The sentences, in a folder that every worker sees.
        location: The path or URL of the store.
        load_teacher: Loads the teacher on a torch device; None means the best one available. It must be picklable.
    """

    corpus: Corpus
    location: str
    load_teacher: Callable[[str | None], Teacher]

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Embed one rank's shards. As the first step of a pipeline, it gets no `data`."""
        gpus = torch.cuda.device_count()
        teacher = self.load_teacher(f"cuda:{rank % gpus}" if gpus else None)
        embed_shards(self.corpus, teacher, self.location, rank, world_size)


def make_executor(step: EmbedShards, arguments: ExecutorArguments) -> Any:
    """Create the datatrove executor that the arguments name."""
    common = {
        "pipeline": [step],
        "tasks": arguments.tasks,
        "workers": arguments.workers,
        "logging_dir": f"{step.location}/logs",
        # The store itself records which shards are done.
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
