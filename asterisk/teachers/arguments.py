"""Command-line arguments for teachers and stores."""

from dataclasses import dataclass

from asterisk.core.arguments import option
from asterisk.data.arguments import CorpusArguments


@dataclass
class TeacherArguments:
    """Teacher: the model whose vectors the student learns."""

    teacher: str = option("", "an encoder (a folder, Hub id or package:NAME), vectors:PATH[#COLUMN], or api:MODEL")
    teacher_pooling: str = option("mean", "mean, cls, max or lasttoken, for a teacher whose files name no pooling")
    teacher_dtype: str = option("auto", "auto, float32 or bfloat16, for embedding the corpus")
    base_url: str = option("", "URL of an embeddings API; empty means OpenAI's")
    key_variable: str = option("OPENAI_API_KEY", "environment variable that holds the API key")
    api_batch_size: int = option(
        0, "maximum texts per request to an embeddings API; 0 means 128, or fewer if the server refuses them"
    )


@dataclass
class OutputArguments:
    """Output: the folders of the store and the sentences."""

    store_dir: str = option("", "folder or URL of the store, visible to all workers")
    corpus_dir: str = option("", "folder of the sentences, visible to all workers; empty means STORE_DIR/corpus")


@dataclass
class ExecutorArguments:
    """Executor: where and how the tasks run."""

    executor: str = option("local", "local, slurm or ray", choices=("local", "slurm", "ray"))
    tasks: int = option(1, "number of tasks", least=1)
    workers: int = option(-1, "number of concurrent tasks; -1 means all")
    task: int = option(-1, "run only the task with this number, counted from 0, as a scheduler's job; -1 means all")
    cpus_per_task: int = option(4, "slurm, ray: processors per task")
    mem_per_cpu_gb: int = option(4, "slurm, ray: memory per processor, in GB")
    gpus_per_task: int = option(0, "slurm, ray: GPUs per task")
    partition: str = option("", "slurm: partition")
    time: str = option("24:00:00", "slurm: time limit of a task")
    qos: str = option("", "slurm: quality of service, if the cluster requires one")


@dataclass
class ClusterArguments(ExecutorArguments, OutputArguments, TeacherArguments, CorpusArguments):
    """The options of `python -m asterisk.teachers.cluster`."""
