"""Kill the tasks that embed a corpus on Slurm, on Ray and into S3, and compare each store with one process's.

    python -m benchmarks.cluster_faults --kills 20

Each kill has a store of its own, which `python -m asterisk.teachers.cluster` fills with two tasks. The kill comes
after a random number of shards. On Slurm, it cancels a task of the array (scancel) or kills a worker (SIGKILL). On
Ray, which runs two nodes, it kills a worker, a node or the command; on the cluster of RAY_ADDRESS, no node. Into S3,
it kills a worker or the command, while the server fails every seventh request. Then the same command runs again until
the store is complete. The store must equal that of one process bit for bit. The results go to
results/cluster_faults.json and .md.

Slurm needs Debian's packages slurm-wlm and munge; Ray needs the extra `cluster`; S3 needs `s3fs` and `moto[server]`.
All run on this machine, as child processes of this program.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from asterisk.core.files import read_json
from asterisk.data.corpus import build_corpus
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.precomputed import PrecomputedTeacher
from asterisk.teachers.remote_folder import RemoteFolder
from benchmarks.records import REPOSITORY, RESULTS, machine, write_record
from tests.support.paths import python_path
from tests.support.s3_server import BUCKET, s3_server
from tests.support.slurm import slurm_cluster

ROWS_PER_SHARD, DIMENSION = 50, 64
# A store that is not complete after this many runs, or a run that takes longer than this, fails.
MOST_RUNS, MOST_SECONDS = 4, 300.0
# Every seventh request to S3 fails.
FAILING = 7


@dataclass
class Place:
    """Where the tasks run.

    Attributes:
        flags: The flags of the command.
        store: Returns the path or URL of a store.
        kills: The ways to kill a run, by name. They take the store and the command's process.
        wait: Waits until a run, and all that it started, has ended.
        environment: The variables of the command.
        poll: Seconds between looks at the store.
    """

    flags: list[str]
    store: Callable[[str], str]
    kills: dict[str, Callable[[str, psutil.Popen], bool]]
    wait: Callable[[psutil.Popen], None]
    environment: dict[str, str] = field(default_factory=dict)
    poll: float = 0.02


def make_material(folder: Path, shards: int) -> dict[str, bytes]:
    """Write texts and their vectors; return the files of the store that one process makes of them."""
    count = shards * ROWS_PER_SHARD
    (folder / "texts.txt").write_text("\n".join(f"sentence number {number}" for number in range(count)))
    np.save(folder / "texts.npy", np.random.default_rng(0).standard_normal((count, DIMENSION), dtype=np.float32))
    corpus = build_corpus([str(folder / "texts.txt")], folder / "corpus", rows_per_shard=ROWS_PER_SHARD)
    embed_corpus(corpus, PrecomputedTeacher(str(folder / "texts.npy")), folder / "truth")
    return contents(str(folder / "truth"))


def run_command(folder: Path, place: Place, store: str) -> psutil.Popen:
    """Start the command that embeds the corpus."""
    flags = ["--corpus", folder / "texts.txt", "--teacher", f"vectors:{folder / 'texts.npy'}", "--store_dir", store]
    flags += ["--corpus_dir", folder / "corpus", "--exclude", "none", "--rows_per_shard", ROWS_PER_SHARD]
    flags += ["--tasks", 2, *place.flags]
    command = [sys.executable, "-m", "asterisk.teachers.cluster", *map(str, flags)]
    environment = {**os.environ, **place.environment, "PYTHONPATH": python_path()}
    with (folder / "output.log").open("ab") as log:
        return psutil.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)


def is_complete(store: str) -> bool:
    """Return whether the manifest lists the shards."""
    manifest = RemoteFolder(store).read_json("manifest.json")
    return manifest is not None and "shards" in manifest


def contents(store: str) -> dict[str, bytes]:
    """The files of a store by name."""
    folder = RemoteFolder(store)
    names = sorted(name for name in folder.names() if name.startswith(("shard-", "manifest")))
    if folder.system is None:
        return {name: (folder.local / name).read_bytes() for name in names}
    return {name: folder.system.cat_file(f"{store}/{name}") for name in names}


def survive(place: Place, kills: int, folder: Path, truth: dict[str, bytes]) -> Iterator[dict[str, int]]:
    """Yield, after each kill, the number of kills by their kind and that of stores that equalled the truth."""
    generator = random.Random(0)
    shards = sum(name.endswith(".arrow") for name in truth)
    counts = dict.fromkeys([*place.kills, "equal", "unfinished"], 0)
    number = 0
    while sum(counts[name] for name in place.kills) < kills:
        store = place.store(f"store-{number}")
        number += 1
        if number > 3 * kills:
            raise RuntimeError("the runs end before they can be killed")
        process = run_command(folder, place, store)
        moment, end = generator.randrange(shards - 1), time.monotonic() + MOST_SECONDS
        remote = RemoteFolder(store)
        while sum(name.endswith(".json") for name in remote.names()) < moment and time.monotonic() < end:
            if is_complete(store):
                break
            time.sleep(place.poll)
        time.sleep(generator.uniform(0, 0.03))
        kind = list(place.kills)[sum(counts[name] for name in place.kills) % len(place.kills)]
        was_killed = place.kills[kind](store, process)
        place.wait(process)
        counts["unfinished"] += was_killed and not is_complete(store)
        if not was_killed:
            continue
        for _ in range(MOST_RUNS):
            place.wait(run_command(folder, place, store))
            if is_complete(store):
                break
        counts[kind] += 1
        counts["equal"] += contents(store) == truth
        print(f"{number} {kind}: after {moment} shards; {counts}", flush=True)
        yield counts


def kill_one_of(processes: list[psutil.Process]) -> bool:
    """Kill one process; return False if there is none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if processes:
            processes[0].send_signal(signal.SIGKILL)
            return True
    return False


def processes_with(*words: str) -> list[psutil.Process]:
    """The processes whose command line holds all the words, newest first."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if all(word in line for word in words) and process.pid != os.getpid():
                found.append(process)
    return sorted(found, key=lambda process: -process.create_time())


def ray_workers() -> list[psutil.Process]:
    """The processes of tasks on the Ray cluster that this process started."""
    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    return [process for process in processes_with("ray::asterisk-embed") if process.pid in ours]


def finish(process: psutil.Popen) -> None:
    """Wait for the command, and for the workers that it leaves."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        process.wait(MOST_SECONDS)
        psutil.wait_procs(children, MOST_SECONDS)


@contextlib.contextmanager
def slurm_place(folder: Path) -> Iterator[Place]:
    """Run tasks on a Slurm cluster of one node."""
    with slurm_cluster(folder / "slurm") as slurm:

        def cancel(store: str, process: psutil.Popen) -> bool:
            running = [job for job, state in slurm.jobs(states="running").items() if state == "RUNNING"]
            if running:
                slurm.run("scancel", running[0])
            return bool(running)

        def wait(process: psutil.Popen) -> None:
            process.wait(MOST_SECONDS)
            slurm.wait(MOST_SECONDS)

        flags = [
            "--executor",
            "slurm",
            "--partition",
            "all",
            "--cpus_per_task",
            "1",
            "--mem_per_cpu_gb",
            "1",
            "--time",
            "00:10:00",
        ]
        kills = {
            "scancel": cancel,
            "worker": lambda store, process: kill_one_of(processes_with("--task ", f"{store} ")),
        }
        yield Place(flags, lambda name: str(folder / "slurm_stores" / name), kills, wait, slurm.environment)


@contextlib.contextmanager
def ray_place(folder: Path) -> Iterator[Place]:
    """Run tasks on a Ray cluster of two nodes, or on that of RAY_ADDRESS, of which no node is killed."""
    flags = ["--executor", "ray", "--cpus_per_task", "1", "--mem_per_cpu_gb", "1"]

    def store(name: str) -> str:
        return str(folder / "ray_stores" / name)

    def kill_command(store: str, process: psutil.Popen) -> bool:
        if process.poll() is not None:
            return False
        process.kill()
        return True

    if "RAY_ADDRESS" in os.environ:
        worker = lambda store, process: kill_one_of(processes_with("ray::asterisk-embed"))  # noqa: E731
        yield Place(flags, store, {"worker": worker, "command": kill_command}, finish)
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "memory": 8 << 30}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    added = [cluster.add_node(**node)]

    def lose_node(store: str, process: psutil.Popen) -> bool:
        if process.poll() is not None:
            return False
        cluster.remove_node(added.pop(), allow_graceful=False)
        added.append(cluster.add_node(**node))
        return True

    kills = {
        "worker": lambda store, process: kill_one_of(ray_workers()),
        "node": lose_node,
        "command": kill_command,
    }
    try:
        yield Place(flags, store, kills, finish, {"RAY_ADDRESS": cluster.address})
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def s3_place(folder: Path) -> Iterator[Place]:
    """Run tasks on this machine that write to an S3 server, which fails now and then."""
    with s3_server(folder / "s3.log") as server:
        os.environ.update(server.environment)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        server.set_faults(every=FAILING)

        def kill_command(store: str, process: psutil.Popen) -> bool:
            if process.poll() is not None:
                return False
            process.kill()
            return True

        def kill_worker(store: str, process: psutil.Popen) -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                return kill_one_of([each for each in process.children() if "spawn_main" in " ".join(each.cmdline())])
            return False

        kills = {"worker": kill_worker, "command": kill_command}
        yield Place([], lambda name: f"s3://{BUCKET}/{name}", kills, finish, poll=0.5)


PLACES = {"Slurm": slurm_place, "Ray": ray_place, "S3": s3_place}


def record(places: dict[str, Any]) -> None:
    """Write the results of all places."""
    rows = []
    for name, counts in places.items():
        kinds = [kind for kind in counts if kind not in ("equal", "unfinished", "shards", "minutes", "machine")]
        killed = sum(counts[kind] for kind in kinds)
        listed = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
        rows.append([name, f"{killed} ({listed})", str(counts["unfinished"]), str(counts["equal"])])
    head = ["", "killed", "unfinished after it", "bit-equal after the next run"]
    write_record("cluster_faults", {"places": places}, head, rows)


def main() -> None:
    """Run the kills and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of kills for each place")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES), help="places (default: all)")
    parser.add_argument("--shards", type=int, default=80, help="shards of each store")
    options = parser.parse_args()
    # The record keeps the results of the places that do not run now.
    path = RESULTS / "cluster_faults.json"
    places: dict[str, Any] = read_json(path)["places"] if path.exists() else {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        truth = make_material(folder, options.shards)
        for name in options.places:
            begin = time.perf_counter()
            with PLACES[name](folder) as place:
                for counts in survive(place, options.kills, folder, truth):
                    minutes = (time.perf_counter() - begin) / 60
                    places[name] = {**counts, "shards": options.shards, "minutes": minutes, "machine": machine()}
                    # A run that is interrupted keeps what it has found.
                    record(places)


if __name__ == "__main__":
    main()
