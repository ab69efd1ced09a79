"""A Slurm cluster of one node on this machine, from Debian's packages slurm-wlm and munge.

All of its files are in one folder. The three daemons are child processes, which end with the block.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.serving import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel")
# The daemons start, and a killed job leaves the queue, within this many seconds.
PATIENCE = 60.0

CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
ReturnToService=2
KillWait=1
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} RealMemory={megabytes} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """A running cluster.

    Attributes:
        environment: The variables with which Slurm's commands find the cluster.
    """

    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    def jobs(self, *, states: str = "all") -> dict[str, str]:
        """Return the job ids, with their index in the array, and states; finished jobs stay for minutes."""
        listed = self.run("squeue", "--array", "--noheader", f"--states={states}", "--format=%i %T")
        return dict(line.split() for line in listed.splitlines())

    def wait(self, seconds: float) -> None:
        """Wait until no job is queued or runs.

        Raises:
            TimeoutError: A job is left after these seconds.
        """
        end = time.monotonic() + seconds
        while left := self.jobs(states="pending,running,completing,configuring"):
            if time.monotonic() > end:
                raise TimeoutError(f"these jobs are left: {left}\n{self.run('squeue', '--long')}")
            time.sleep(0.2)


def slurm_is_installed() -> bool:
    """Return whether the daemons and commands are installed."""
    return all(_program(name) for name in PROGRAMS)


@contextlib.contextmanager
def slurm_cluster(folder: Path, processors: int = 8, megabytes: int = 16_000) -> Iterator[Slurm]:
    """Run a cluster whose one node offers these processors and megabytes, whatever the machine has."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munged refuses a socket in a folder that others may write to
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    configuration = folder / "slurm.conf"
    user = subprocess.run(["id", "--user", "--name"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    values = {"host": os.uname().nodename.partition(".")[0], "user": user, "folder": folder}
    values |= {"processors": processors, "megabytes": megabytes}
    values |= {"controller_port": free_port(), "node_port": free_port()}
    configuration.write_text(CONFIGURATION.format(**values))
    files = {"key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
    flags = [f"--{name}={folder / file}" for name, file in files.items()]
    commands = [
        ["munged", "--force", "--foreground", f"--socket={folder}/munge.socket", *flags],
        ["slurmctld", "-D", "-i", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]
    daemons = []
    slurm = Slurm({"SLURM_CONF": str(configuration)})
    try:
        for name, *arguments in commands:
            with (folder / f"{name}.out").open("wb") as output:
                program = [_program(name) or name, *arguments]
                daemons.append(subprocess.Popen(program, env={**os.environ, **slurm.environment}, stderr=output))
            if name == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
        _wait(lambda: "idle" in slurm.run("sinfo", "--noheader", "--format=%t"), daemons, folder)
        yield slurm
        if slurm.jobs(states="pending,running"):
            slurm.run("scancel", f"--user={user}")
            slurm.wait(PATIENCE)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()


def _wait(ready: Callable[[], bool], daemons: list[subprocess.Popen[bytes]], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            if ready():
                return
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if ended or time.monotonic() > end:
            said = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.out")))
            raise RuntimeError(f"Slurm did not start in {folder}; ended: {ended}\n{said}")
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
