"""Embed a corpus with a teacher in several tasks: on one machine, on Slurm or on Ray.

    python -m asterisk.teachers.cluster --corpus texts/ --teacher T --store_dir /shared/store --tasks 8 --workers 2
    python -m asterisk.teachers.cluster --corpus texts/ --teacher BAAI/bge-m3 --store_dir /shared/store --tasks 64 \\
        --executor slurm --partition gpu --time 10:00:00 --gpus_per_task 1
    python -m asterisk.teachers.cluster --corpus texts/ --teacher BAAI/bge-m3 --store_dir s3://bucket/store \\
        --corpus_dir /shared/corpus --executor ray --tasks 9 --gpus_per_task 1

The command reads the sentences once. Each task then embeds its share of the shards, and the last task completes the
store. Running the command again embeds only the missing shards. train_distill.py reads the store if its corpus,
teacher and --store_dir are the same.

Run the second example on a login node: it submits a job array and returns; `squeue --me` shows the array. Run the
third example on a node of a Ray cluster (pip install '.[cluster]'). With any other scheduler, each job runs one task:
add --task N to the command. Workers on one machine share its processors; OMP_NUM_THREADS sets how many each worker
uses.
"""

import importlib.util
import shutil
from functools import partial
from pathlib import Path

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point, redact
from asterisk.teachers.arguments import ClusterArguments


@entry_point
def main() -> None:
    """Read the corpus and run or submit the tasks."""
    arguments = parse_arguments(ClusterArguments, __doc__ or "")
    check_arguments(arguments)
    # These imports take seconds, which --help should not.
    from asterisk.data.corpus import build_corpus, corpus_options, describe_counts, load_corpus
    from asterisk.teachers.executors import EmbedShards, run_processes, run_ray_tasks, submit_array, task_command
    from asterisk.teachers.store import EmbeddingStore
    from asterisk.teachers.teacher import load_teacher

    # Workers may have another working directory.
    if not _is_url(arguments.store_dir):
        arguments.store_dir = str(Path(arguments.store_dir.removeprefix("file://")).resolve())
    if Path(arguments.teacher).is_dir():
        arguments.teacher = str(Path(arguments.teacher).resolve())
    corpus_folder = Path(arguments.corpus_dir or f"{arguments.store_dir}/corpus").resolve()
    teacher = partial(load_teacher, arguments, arguments.text_column, arguments.store_dir)
    if arguments.task >= 0:
        EmbedShards(load_corpus(corpus_folder), arguments.store_dir, teacher).run(arguments.task, arguments.tasks)
        return
    corpus = build_corpus(arguments.corpus, corpus_folder, **corpus_options(arguments))
    shards = len(corpus.rows_per_shard)
    print(f"Corpus: {corpus.num_sentences:,} sentences ({describe_counts(corpus.counts)}) in {shards:,} shards.")
    if shards < arguments.tasks:
        print(
            f"Only {shards:,} of the {arguments.tasks:,} tasks have a shard to embed; --rows_per_shard makes shards "
            "smaller."
        )
    if arguments.executor == "slurm":
        logs = corpus_folder.parent / "logs"
        job = submit_array(task_command(), logs, arguments)
        print(f"Submitted job {job}; its output is in {logs}. After it, the same command embeds any missing shards.")
        return
    run = run_ray_tasks if arguments.executor == "ray" else run_processes
    run(EmbedShards(corpus, arguments.store_dir, teacher), arguments)
    store = EmbeddingStore(arguments.store_dir)
    print(f"The store is complete: {len(store):,} sentences in {arguments.store_dir}.")


def check_arguments(arguments: ClusterArguments) -> None:
    """Refuse arguments that cannot work.

    Raises:
        UserError: An argument is missing or out of range, or Slurm or Ray is needed and not installed.
    """
    for name in ("corpus", "teacher", "store_dir"):
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing.")
    if arguments.executor == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError("--executor ray needs Ray; pip install '.[cluster]' installs it.")
    if arguments.executor == "slurm" and not arguments.partition:
        raise UserError("--partition is missing; `sinfo` lists those of the cluster.")
    if arguments.executor == "slurm" and arguments.task < 0 and shutil.which("sbatch") is None:
        raise UserError("--executor slurm needs sbatch; run the command on a login node of the cluster.")
    if arguments.task >= arguments.tasks:
        raise UserError(f"--task must be less than --tasks ({arguments.tasks}), not {arguments.task}.")
    if arguments.workers == 0 or arguments.workers < -1:
        raise UserError(f"--workers must be at least 1, or -1 for all tasks at once, not {arguments.workers}.")
    if redact(arguments.store_dir) != arguments.store_dir:
        raise UserError(
            "--store_dir holds a password or key, which the scheduler would record; give it to the workers in the "
            "protocol's own settings, such as AWS_ACCESS_KEY_ID."
        )
    if _is_url(arguments.store_dir) and not arguments.corpus_dir:
        raise UserError("With a URL as --store_dir, --corpus_dir must name a folder that all workers see.")


def _is_url(store_dir: str) -> bool:
    return "://" in store_dir and not store_dir.startswith("file://")


if __name__ == "__main__":
    main()
