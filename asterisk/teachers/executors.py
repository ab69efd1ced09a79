"""The task that embeds its share of a corpus, and the executors that run the tasks: processes, Slurm and Ray."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

from asterisk.core.errors import UserError, one_line
from asterisk.core.files import make_folder
from asterisk.data.corpus import Corpus
from asterisk.teachers.arguments import ExecutorArguments
from asterisk.teachers.embed_corpus import embed_shards
from asterisk.teachers.teacher import Teacher

# Ray repeats a task this often if its worker is killed or its node is lost.
RAY_RETRIES = 3
BYTES_PER_GB = 1 << 30


@dataclass
class EmbedShards:
    """The tasks that embed a corpus; each embeds the shards of its rank.

    Args:
        corpus: The sentences, in a folder that every worker sees.
        location: The path or URL of the store.
        load_teacher: Loads the teacher of a rank. It must be picklable.
    """

    corpus: Corpus
    location: str
    load_teacher: Callable[[int], Teacher]

    def run(self, rank: int, tasks: int) -> None:
        """Run one of the tasks."""
        embed_shards(self.corpus, self.load_teacher(rank), self.location, rank, tasks)


def run_processes(step: EmbedShards, arguments: ExecutorArguments) -> None:
    """Run the tasks in processes of this machine.

    Raises:
        UserError: A task fails, or a worker is killed.
    """
    workers = arguments.tasks if arguments.workers == -1 else min(arguments.workers, arguments.tasks)
    # A forked process could not use a GPU.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as pool:
        futures = [pool.submit(step.run, rank, arguments.tasks) for rank in range(arguments.tasks)]
        try:
            for future in futures:
                future.result()
        except BrokenProcessPool:
            raise UserError(
                "A worker was killed, perhaps for lack of memory; run the command again to embed the missing shards, "
                f"if necessary with fewer --workers than {workers}."
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def run_ray_tasks(step: EmbedShards, arguments: ExecutorArguments) -> None:
    """Run the tasks on the Ray cluster of this machine or of `RAY_ADDRESS`.

    Raises:
        UserError: A task fails, or its workers are killed too often.
    """
    import ray

    @ray.remote
    def run(step: EmbedShards, rank: int, tasks: int) -> None:
        step.run(rank, tasks)

    ray.init()
    task = run.options(
        name="asterisk-embed",
        num_cpus=arguments.cpus_per_task,
        num_gpus=arguments.gpus_per_task,
        memory=arguments.cpus_per_task * arguments.mem_per_cpu_gb * BYTES_PER_GB,
        max_retries=RAY_RETRIES,
    )
    waiting = list(range(arguments.tasks))
    workers = arguments.tasks if arguments.workers == -1 else arguments.workers
    running: list[ray.ObjectRef] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(task.remote(step, waiting.pop(0), arguments.tasks))
            done, running = ray.wait(running)
            ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayError, OSError) as error:
        raise UserError(
            f"Ray lost a task for good ({one_line(error)}); run the command again to embed the missing shards."
        ) from None
    finally:
        ray.shutdown()


def submit_array(command: list[str], logs: Path, arguments: ExecutorArguments) -> str:
    """Submit the tasks to Slurm as a job array, which keeps the working directory and the environment.

    Args:
        command: The command of a task, to which the task's number is appended.
        logs: The folder of the tasks' output.
        arguments: The number of tasks and their resources.

    Returns:
        The id of the job.

    Raises:
        UserError: Slurm refuses the job.
    """
    limit = "" if arguments.workers == -1 else f"%{arguments.workers}"
    options = {
        "job-name": "asterisk-embed",
        "partition": arguments.partition,
        "qos": arguments.qos,
        "array": f"0-{arguments.tasks - 1}{limit}",
        "time": arguments.time,
        "cpus-per-task": arguments.cpus_per_task,
        "mem-per-cpu": f"{arguments.mem_per_cpu_gb}G",
        "gpus": arguments.gpus_per_task,
        "output": logs / "%A_%a.log",
    }
    make_folder(logs)
    script = f'#!/bin/bash\nexec {shlex.join(command)} "$SLURM_ARRAY_TASK_ID"\n'
    flags = [f"--{name}={value}" for name, value in options.items() if value]
    submitted = subprocess.run(
        ["sbatch", "--parsable", "--requeue", *flags], input=script, capture_output=True, text=True, check=False
    )
    if submitted.returncode:
        raise UserError(f"Slurm refuses the job: {' '.join(submitted.stderr.split())[:300]}.")
    return submitted.stdout.strip().partition(";")[0]


def _end_with_parent() -> None:
    """End this worker if the process that started it is killed."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def task_command() -> list[str]:
    """Return the command of one task: this command, followed by `--task`."""
    return [sys.executable, "-m", "asterisk.teachers.cluster", *sys.argv[1:], "--task"]
