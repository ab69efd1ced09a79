"""Train on two nodes, cut the link between them, kill one, and continue on the other.

    sudo python -m benchmarks.nodes

The nodes are network namespaces of this machine with an address each; `accelerate launch` starts two processes on
each, which exchange gradients with gloo. The same run in one process, with four times the batch, gives the curve that
all others are compared with. The first run on two nodes is undisturbed. In the second, the link is cut for ten
seconds. In the third, all processes of the second node are killed, and --resume continues on the first node alone,
with the same batches. The results go to results/nodes.json and .md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import REPOSITORY, machine, write_record
from tests.support.nodes import Nodes, kill_tree, two_nodes, wait_for_line

STEPS, BATCH, NODES, PROCESSES = 50, 64, 2, 2
CUT_SECONDS, MOST_SECONDS = 10, 1_200


def flags(folder: Path, name: str, batch_size: int) -> list[Any]:
    """The command line of a run with a tiny student."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "projection_dim": 16}
    pace = {"max_steps": STEPS, "batch_size": batch_size, "heldout": 100, "eval_steps": 1, "checkpoint_steps": 5}
    student = {"tokenizer": "trained:300", "table": "random", "mixed_precision": "no", "muon_factor": 0}
    data = {"corpus": folder / "texts.txt", "exclude": "none", "teacher": f"vectors:{folder / 'texts.npy'}"}
    places = {"store_dir": folder / "store", "output_dir": folder / name}
    given = {**sizes, **pace, **student, **data, **places}
    return ["train_distill.py", "--resume", *(word for key, value in given.items() for word in (f"--{key}", value))]


def losses(folder: Path, name: str) -> list[float]:
    """The loss of each step of a run."""
    lines = (folder / name / "curves.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def difference(folder: Path, name: str) -> float:
    """The largest difference to the losses of one process."""
    alone, found = losses(folder, "alone"), losses(folder, name)
    if len(found) != len(alone):
        raise RuntimeError(f"{name} has {len(found)} steps instead of {len(alone)}")
    return float(np.abs(np.array(alone) - found).max())


def run_nodes(nodes: Nodes, folder: Path, name: str) -> list[subprocess.Popen[bytes]]:
    """Start a run on both nodes."""
    (folder / f"{name}.logs").mkdir()
    command = flags(folder, name, BATCH // (NODES * PROCESSES))
    return nodes.launch(command, folder / f"{name}.logs", PROCESSES)


def sentences(log: Path) -> list[str]:
    """The lines in which a program of ours says why it ends."""
    return [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]


def measure(folder: Path, only_same: bool = False) -> dict[str, Any]:
    """Run everything; `only_same` leaves out the faults."""
    texts = [f"sentence number {number} of many" + " word" * (number % 9) for number in range(STEPS * BATCH + 200)]
    (folder / "texts.txt").write_text("\n".join(texts))
    np.save(folder / "texts.npy", np.random.default_rng(0).standard_normal((len(texts), 24), dtype=np.float32))
    alone = [sys.executable, *map(str, flags(folder, "alone", BATCH))]
    subprocess.run(alone, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = {"steps": STEPS, "nodes": NODES, "processes": NODES * PROCESSES}
    with two_nodes() as nodes:
        for process in run_nodes(nodes, folder, "both"):
            if process.wait(MOST_SECONDS):
                raise RuntimeError((folder / "both.logs" / "node0.log").read_text()[-3000:])
        found["difference"] = difference(folder, "both")
        if only_same:
            return found

        started = run_nodes(nodes, folder, "cut")
        wait_for_line(folder / "cut" / "curves.jsonl", '"step": 10,', MOST_SECONDS)
        nodes.cut()
        time.sleep(CUT_SECONDS)
        nodes.join()
        joined = time.monotonic()
        codes = [process.wait(MOST_SECONDS) for process in started]
        said = [line for node in range(NODES) for line in sentences(folder / "cut.logs" / f"node{node}.log")]
        found["cut"] = {"exit": codes, "said": said, "seconds": time.monotonic() - joined}
        if not any(codes):
            found["cut"]["difference"] = difference(folder, "cut")

        started = run_nodes(nodes, folder, "killed")
        wait_for_line(folder / "killed" / "curves.jsonl", '"step": 10,', MOST_SECONDS)
        kill_tree(started[1])
        killed = time.monotonic()
        code = started[0].wait(MOST_SECONDS)
        said = sentences(folder / "killed.logs" / "node0.log")
        found["killed"] = {"exit": code, "said": said, "seconds": time.monotonic() - killed}
        found["killed"]["named"] = bool(said) and all(nodes.addresses[1] in line for line in said)

        command = flags(folder, "killed", BATCH // (NODES * PROCESSES))
        (resumed,) = nodes.launch(command, folder / "killed.logs", PROCESSES, nodes=1)
        found["resumed"] = {"exit": resumed.wait(MOST_SECONDS), "difference": difference(folder, "killed")}
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = measure(Path(work))
    cut, killed, resumed = found["cut"], found["killed"], found["resumed"]
    went_on = f"went on, {cut['difference']:.1e}" if not any(cut["exit"]) else " ".join(cut["said"])
    ended = f"ended after {killed['seconds']:.0f} s: {' '.join(killed['said'][:1])}".replace("|", "\\|")
    rows = [
        ["two nodes of two processes", f"{found['difference']:.1e}"],
        [f"link cut for {CUT_SECONDS} s", went_on],
        ["one node killed: the other", ended],
        ["continued on the other node", f"{resumed['difference']:.1e}"],
    ]
    head = [f"{STEPS} steps", "largest difference to the losses of one process"]
    write_record("nodes", {"machine": machine(), **found}, head, rows)


if __name__ == "__main__":
    main()
