"""Fuzz every reader of outside input, guided by coverage: each case must end in an answer or a one-sentence refusal.

    HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python -m benchmarks.fuzz --cases 1000000

tests/support/fuzz_targets.py defines the targets. libFuzzer, through atheris, mutates the seeds of a target to reach
more of the project's code. Each target has its own process. A failure is any other exception, a number that is not
finite, a case of more than a minute, or more than two gigabytes of memory. The program prints a failure with its
traceback and its bytes, once per line of code; the exit status is then 1, and nothing is recorded. To try the bytes
of a file:

    python -m benchmarks.fuzz --targets NAME --only FILE

The results go to results/fuzz.json and .md.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

REPOSITORY = Path(__file__).resolve().parents[1]

# Share of the cases for each target. Slower targets get fewer, so that all take about the same time.
SHARES = {
    "body": 0.636,
    "lines": 0.2,
    "manifest": 0.06,
    "recipe": 0.04,
    "labelled": 0.02,
    "tables": 0.02,
    "request": 0.014,
    "encode": 0.01,
}

# The words of each target's dictionary; mutation alone seldom finds them.
WORDS = {
    "encode": ["soup", "\u200b", "\u202e", "\x1e", "\ud83e", "\u0301"],
    "lines": ['{"text": "', '"}', "\\ud800", "\r\n", "\ufeff", "\u2028", "NaN", "[", "null", "1e999"],
    "tables": ["text", '"', '""', "\r", "NA", "\0", "\ufeff", "PAR1"],
    "labelled": ['"label"', '"text"', "label", "1e400", "NaN", "Infinity", "null", "true", "-0", "1.5", "\\ud800"],
    "manifest": ['"version"', '"settings"', '"dimension"', '"shards"', '"sha256"', '"rows"', '"recipe"', "null", "{}"],
    "recipe": [
        "&a ",
        "*a",
        "<<: ",
        "!!python/object:x",
        "!!float",
        ".nan",
        "0x",
        "2001-01-01",
        "corpus: ",
        "? ",
        "|\n",
    ],
    "request": [
        '"inputs"',
        '"parameters"',
        '"normalize"',
        '"truncate_dim"',
        '"top_k"',
        "null",
        "true",
        "NaN",
        "\\ud800",
    ],
    "body": ['"input"', '"dimensions"', '"encoding_format"', '"user"', "null", "NaN", "1e9", "\\ud800", "[[1]]"],
}

INSTRUMENTED = ["asterisk", "modeling_asterisk", "yaml"]
SECONDS, MEGABYTES, MOST_BYTES = 60, 2_048, 2_048
HEAD = ("target", "cases", "accepted", "branches of the seeds", "branches reached", "cases/s")


def fuzz(targets: Any, name: str, cases: int, seed: int) -> dict[str, Any]:
    """Try a number of cases on a target.

    Returns:
        `cases`; `answered`, the number of cases that were not refused; `seed_branches` and `branches`, the project's
        branches that the seeds and all cases reached; `per_second`; and `failures`, the report of each.
    """
    with tempfile.TemporaryDirectory() as work:
        folder, seeds = Path(work), targets.seeds(name)
        (folder / "corpus").mkdir()
        for number, content in enumerate(seeds):
            (folder / "corpus" / str(number)).write_bytes(content)
        flags = {"runs": cases, "seed": seed, "timeout": SECONDS, "rss_limit_mb": MEGABYTES, "max_len": MOST_BYTES}
        flags |= {"dict": _write_dictionary(folder / "words", name), "artifact_prefix": f"{folder}/", "verbosity": 1}
        options = [*(f"-{key}={value}" for key, value in flags.items()), "-print_final_stats=1", f"{folder}/corpus"]
        child = os.fork()
        if not child:
            _become_fuzzer(getattr(targets, name), seeds, cases, options, folder / "log")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        failures = re.findall(r"^FAILED .*?^END$", log, re.DOTALL | re.MULTILINE)
        # The parent had threads that the child lacks, so the child's exit status says nothing; its log does.
        if f"Done {cases} runs" not in log:
            left = [path.read_bytes() for path in folder.glob("*-*")]
            return {"failures": [*failures, f"It ended with {status}:\n{log[-3_000:]}\n{left}"]}
    coverage = [int(found) for found in re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", log, re.MULTILINE)]
    return {
        "cases": _number(log, r"stat::number_of_executed_units: (\d+)"),
        "answered": _number(log, r"answered: (\d+)"),
        "seed_branches": coverage[0],
        "branches": coverage[-1],
        "per_second": _number(log, r"stat::average_exec_per_sec: +(\d+)"),
        "failures": failures,
    }


def _become_fuzzer(
    attempt: Callable[[bytes], bool], seeds: list[bytes], cases: int, options: list[str], log: Path
) -> None:
    """Let libFuzzer take over this process and end it."""
    answered, tried = 0, 0
    failed = set()

    def try_case(content: bytes) -> None:
        nonlocal answered, tried
        tried += 1
        try:
            answered += attempt(content)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            if (known := (type(error), place.filename, place.lineno)) not in failed:
                failed.add(known)
                print(f"FAILED on {content!r}\n{traceback.format_exc()}END", flush=True)
        if tried == cases:
            print(f"answered: {answered}", flush=True)

    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        for content in seeds:  # imports and caches, so that no case's time includes them
            assert attempt(content), f"{content!r} was refused."
        atheris.Setup([sys.argv[0], *options], try_case)
        atheris.Fuzz()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


def _number(log: str, pattern: str) -> int:
    found = re.findall(pattern, log)
    assert found, f"libFuzzer did not say {pattern}: {log[-3_000:]}"
    return int(found[-1])


def _write_dictionary(path: Path, name: str) -> Path:
    encoding = "utf-16-le" if name == "encode" else "utf-8"
    words = (word.encode(encoding, "surrogatepass") for word in WORDS[name])
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in words)
    path.write_text("\n".join(lines) + "\n")
    return path


def main() -> None:
    """Try the cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000, help="cases in all (default: 1000000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random draws (default: 1)")
    parser.add_argument("--targets", nargs="+", choices=SHARES, default=list(SHARES), help="default: all")
    parser.add_argument("--only", type=Path, metavar="FILE", help="try only the bytes of this file")
    parser.add_argument("--unrecorded", action="store_true", help="print the results and record nothing")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # because processes are forked
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.support.fuzz_targets import Targets
    results: dict[str, dict[str, Any]] = {}
    failures = []
    with tempfile.TemporaryDirectory() as work:
        targets = Targets(Path(work))
        for name in options.targets:
            if options.only:
                print("answered" if getattr(targets, name)(options.only.read_bytes()) else "refused")
                continue
            results[name] = fuzz(targets, name, round(SHARES[name] * options.cases), options.seed)
            found = results[name].pop("failures")
            print(f"{name}: {json.dumps(results[name])}", *found, sep="\n", flush=True)
            failures += found
    if failures:
        sys.exit(1)
    if options.unrecorded or options.only:
        return
    from benchmarks.records import machine, write_record

    names = ("cases", "answered", "seed_branches", "branches", "per_second")
    rows = [[name, *(f"{result[key]:,}" for key in names)] for name, result in results.items()]
    total = {key: sum(result[key] for result in results.values()) for key in ("cases", "answered")}
    rows.append(["all", f"{total['cases']:,}", f"{total['answered']:,}", "", "", ""])
    record = {"machine": machine(), "seed": options.seed, "targets": results, "all": total}
    write_record("fuzz", record, HEAD, rows)


if __name__ == "__main__":
    main()
