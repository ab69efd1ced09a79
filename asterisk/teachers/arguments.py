"""Command-line arguments about the teacher."""

from dataclasses import dataclass, field

from asterisk.data.arguments import CorpusArguments


@dataclass
class TeacherArguments:
    """Teacher: the model whose vectors the student learns."""

    teacher: str = field(
        default="",
        metadata={"help": "an encoder (folder, Hub id, package:NAME), vectors:PATH[#COLUMN], or api:MODEL"},
    )
    teacher_pooling: str = field(
        default="mean",
        metadata={"help": "mean, cls, max or lasttoken, for a teacher whose files name no pooling"},
    )
    teacher_dtype: str = field(
        default="auto", metadata={"help": "auto, float32 or bfloat16, for embedding the corpus"}
    )
    base_url: str = field(default="", metadata={"help": "URL of an embeddings API; empty means OpenAI's"})
    key_variable: str = field(
        default="OPENAI_API_KEY", metadata={"help": "environment variable that holds the API key"}
    )
    api_batch_size: int = field(
        default=0,
        metadata={
            "help": "maximum texts per request to an embeddings API; 0 means 128, or fewer if the server refuses them"
        },
    )


@dataclass
class OutputArguments:
    """Output: the folders of the store and the sentences."""

    store_dir: str = field(default="", metadata={"help": "folder or URL of the store, visible to all workers"})
    corpus_dir: str = field(
        default="",
        metadata={"help": "folder of the sentences, visible to all workers; empty means STORE_DIR/corpus"},
    )


@dataclass
class ExecutorArguments:
    """Executor: where and how the tasks run."""

    executor: str = field(default="local", metadata={"help": "local, slurm or ray"})
    tasks: int = field(default=1, metadata={"help": "number of tasks"})
    workers: int = field(default=-1, metadata={"help": "number of concurrent tasks; -1 means all"})
    cpus_per_task: int = field(default=4, metadata={"help": "slurm, ray: processors per task"})
    mem_per_cpu_gb: int = field(default=4, metadata={"help": "slurm, ray: memory per processor, in GB"})
    gpus_per_task: int = field(default=0, metadata={"help": "slurm, ray: GPUs per task"})
    partition: str = field(default="", metadata={"help": "slurm: partition"})
    time: str = field(default="24:00:00", metadata={"help": "slurm: time limit of a task"})
    qos: str = field(default="", metadata={"help": "slurm: quality of service, if the cluster requires one"})


@dataclass
class ClusterArguments(ExecutorArguments, OutputArguments, TeacherArguments, CorpusArguments):
    """The options of `python -m asterisk.teachers.cluster`."""
