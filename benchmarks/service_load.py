"""Measure serve.py under many clients, beyond its limits, and with malformed requests.

    python -m benchmarks.service_load --clients 200 --seconds 60

The service runs the release's ONNX file; clients and service share this machine's processors and its loopback. First,
each client requests vectors continuously. Then the limits are tested: too many concurrent requests, too large a body,
too many texts, invalid JSON, invalid HTTP, a body that does not arrive within half a minute, and clients that
disconnect before the answer. After that, the full number of concurrent requests must be accepted again. The results
go to results/service_load.json and .md.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
CAPTIONS = REPOSITORY / "recipes" / "sts_captions" / "test.jsonl"

# The default limits of the service.
MAX_BODY_BYTES = 8_388_608
MAX_TEXTS = 2_048
MAX_WAITING = 256

HALF = b"POST /v1/embeddings HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{"


@dataclass
class Tally:
    """The answers to requests: counts by status or error, and the seconds of each."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)


async def ask(http: httpx2.AsyncClient, tally: Tally, content: bytes) -> None:
    """Send one request."""
    started = time.perf_counter()
    try:
        answer = await http.post("/v1/embeddings", content=content)
        tally.answers[str(answer.status_code)] += 1
    except httpx2.HTTPError as error:
        tally.answers[type(error).__name__] += 1
    tally.seconds.append(time.perf_counter() - started)


def clients(url: str, number: int) -> httpx2.AsyncClient:
    """An HTTP client with this many concurrent connections."""
    return httpx2.AsyncClient(base_url=url, limits=httpx2.Limits(max_connections=number), timeout=60)


async def sustain(url: str, number: int, seconds: float, texts: list[str]) -> Tally:
    """Run clients that each request one vector after the other for some seconds."""
    tally, end = Tally(), time.monotonic() + seconds
    bodies = [json.dumps({"input": text}).encode() for text in texts]

    async def client(first: int) -> None:
        turn = first
        while time.monotonic() < end:
            await ask(http, tally, bodies[turn % len(bodies)])
            turn += number

    async with clients(url, number) as http:
        await asyncio.gather(*map(client, range(number)))
    return tally


async def at_once(url: str, number: int, content: bytes) -> dict[str, int]:
    """Send requests at once; return the counts by status or error."""
    tally = Tally()
    async with clients(url, number) as http:
        await asyncio.gather(*(ask(http, tally, content) for _ in range(number)))
    return dict(tally.answers)


async def disconnect(url: str, number: int, content: bytes) -> None:
    """Send requests and close their connections without waiting for an answer."""
    host, port = address(url)
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    for _ in range(number):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(head + content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def status_of(url: str, sent: bytes) -> str:
    """The status of the answer to raw bytes."""
    host, port = address(url)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent)
    await writer.drain()
    line = await asyncio.wait_for(reader.readline(), 90)
    writer.close()
    return line.decode().split()[1] if line else "closed"


async def accepts_all(url: str, number: int, seconds: float = 60) -> bool:
    """Whether this many concurrent requests are accepted, within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await at_once(url, number, b'{"input": "Rain"}') == {"200": number}:
            return True
    return False


async def exceed_limits(url: str, max_waiting: int = MAX_WAITING, slow: bool = True) -> dict[str, Any]:
    """Exceed each limit; return the answers, and whether all requests are accepted again after clients disconnect.

    Args:
        url: The address of the service.
        max_waiting: The number of requests that may wait.
        slow: Whether to wait half a minute for the answer to a body that never arrives.
    """
    long = json.dumps({"input": ["rain " * 200] * 8}).encode()
    found: dict[str, Any] = {
        "more at once than may wait": await at_once(url, 3 * max_waiting, long),
        "too large a body": await at_once(url, 3, b" " * (MAX_BODY_BYTES + 1)),
        "too many texts": await at_once(url, 3, json.dumps({"input": ["a"] * (MAX_TEXTS + 1)}).encode()),
        "no JSON": await at_once(url, 3, b'{"input": '),
        "no HTTP": {await status_of(url, b"\x16\x03\x01\x02\x00 hello\r\n\r\n"): 1},
    }
    waiting = [await asyncio.open_connection(*address(url)) for _ in range(100)]
    for _, writer in waiting:
        writer.write(HALF)
    found["beside 100 bodies that do not come"] = await at_once(url, 20, b'{"input": "Rain"}')
    if slow:
        found["a body that does not come"] = {await status_of(url, HALF): 1}
    for _, writer in waiting:
        writer.close()
    await disconnect(url, max_waiting, long)
    found["room for all after clients that went away"] = await accepts_all(url, max_waiting)
    return found


def address(url: str) -> tuple[str, int]:
    """The host and the port of an address."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def memory(process: int) -> int:
    """Memory of a process and its children in bytes, shared pages counted once."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    return sum(each.memory_full_info().pss for each in family)


def texts() -> list[str]:
    """The texts: captions."""
    lines = CAPTIONS.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["sentence1"] for line in lines))


@contextlib.contextmanager
def served(folder: Path, *options: object) -> Iterator[tuple[str, int]]:
    """Start a service of the folder; yield its address and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(REPOSITORY / "serve.py"), str(folder), "--port", str(port), *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert str(port) in process.stdout.readline()
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    if httpx2.get(f"{url}/health").status_code == 200:
                        break
                assert time.monotonic() < end, "the service does not answer"
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "release" / "asterisk", help="a published folder")
    parser.add_argument("--clients", type=int, default=200, help="concurrent clients")
    parser.add_argument("--seconds", type=float, default=60, help="duration of the load")
    options = parser.parse_args()
    with served(options.folder) as (url, process):
        # Memory allocated by the first requests does not count as growth.
        asyncio.run(sustain(url, options.clients, options.seconds / 10, texts()))
        before = memory(process)
        started = time.perf_counter()
        tally = asyncio.run(sustain(url, options.clients, options.seconds, texts()))
        seconds = time.perf_counter() - started
        after = memory(process)
        limits = asyncio.run(exceed_limits(url))
        last = memory(process)
    from benchmarks.records import machine, write_record

    hundredths = statistics.quantiles(tally.seconds, n=100)
    speed = tally.answers["200"] / seconds
    errors = sum(tally.answers.values()) - tally.answers["200"]
    rows = [
        ["requests/s", f"{speed:,.0f}"],
        ["median, ms", f"{1000 * hundredths[49]:,.0f}"],
        ["99 of 100 within, ms", f"{1000 * hundredths[98]:,.0f}"],
        ["answers other than 200", f"{errors:,}"],
        ["memory before, MB", f"{before / 1e6:,.0f}"],
        ["memory after, MB", f"{after / 1e6:,.0f}"],
        ["memory after the limits were pressed, MB", f"{last / 1e6:,.0f}"],
    ]
    result = {
        "machine": machine(),
        "clients": options.clients,
        "seconds": seconds,
        "answers": dict(tally.answers),
        "requests_per_second": speed,
        "p50_seconds": hundredths[49],
        "p99_seconds": hundredths[98],
        "memory_bytes": {"before": before, "after": after, "after the limits were pressed": last},
        "limits": limits,
    }
    write_record("service_load", result, [f"{options.clients} clients, one text a request", "measured"], rows)
    print(json.dumps(limits, indent=2))


if __name__ == "__main__":
    main()
