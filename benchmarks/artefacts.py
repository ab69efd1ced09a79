"""Give every poisoned artefact of tests/support/poisoned.py to its reader; record message, time and memory.

HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python -m benchmarks.artefacts

The results go to results/artefacts.json and .md, and a summary for each reader to artefacts_by_reader.json and .md.
"""

import dataclasses
import tempfile
from pathlib import Path

from benchmarks.records import machine, write_record
from tests.support.poisoned import CASES, refuse


def main() -> None:
    """Try the artefacts one after the other."""
    refusals = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as work:
            refusal = refuse(case, Path(work))
        assert refusal is not None, f"{case} was accepted."
        refusals.append({"artefact": case.name, "reader": case.reader, **dataclasses.asdict(refusal)})
    slowest = max(each["seconds"] for each in refusals)
    result = {"machine": machine(), "refused": len(refusals), "slowest_seconds": slowest, "refusals": refusals}
    rows = [
        (
            *(each["artefact"], each["reader"], f"{each['seconds']:.2f}", f"{each['peak_mb']:.0f}"),
            " ".join(each["sentence"].removeprefix("error: ").replace("|", "\\|").split()),
        )
        for each in refusals
    ]
    write_record("artefacts", result, ("artefact", "reader", "seconds", "peak MB", "message"), rows)
    readers = {each["reader"]: [other for other in refusals if other["reader"] == each["reader"]] for each in refusals}
    readers["all"] = refusals
    sums = {
        reader: {"refused": len(own)} | {part: max(each[part] for each in own) for part in ("seconds", "peak_mb")}
        for reader, own in readers.items()
    }
    rows = [
        (reader, str(own["refused"]), f"{own['seconds']:.2f}", f"{own['peak_mb']:.0f}") for reader, own in sums.items()
    ]
    head = ("reader", "artefacts refused", "maximum seconds", "maximum added MB")
    write_record("artefacts_by_reader", {"machine": machine(), "readers": sums}, head, rows)


if __name__ == "__main__":
    main()
