"""Requests that wait together form one batch; abandoned, late and failed requests hurt no other."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from asterisk.serving import batching
from asterisk.serving.batching import BatchQueue
from asterisk.serving.requests import EmbeddingRequest


def run(compute: Callable[[list[EmbeddingRequest]], list[bytes]], scenario: Callable[[BatchQueue], Awaitable]) -> None:
    """Run a scenario while the queue answers requests."""

    async def main() -> None:
        queue = BatchQueue(compute)
        worker = asyncio.create_task(queue.run())
        await asyncio.wait_for(scenario(queue), 10)
        worker.cancel()

    asyncio.run(main())


def texts(*names: str) -> EmbeddingRequest:
    return EmbeddingRequest(input=list(names))


class Recorder:
    """Answers with the first text of each request; holds the first batch until released."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.started, self.released = threading.Event(), threading.Event()

    def __call__(self, requests: list[EmbeddingRequest]) -> list[bytes]:
        self.batches.append([request.input[0] for request in requests])
        self.started.set()
        self.released.wait(10)
        if "fail" in self.batches[-1]:
            raise RuntimeError("no memory")
        return [request.input[0].encode() for request in requests]


async def occupied(queue: BatchQueue, recorder: Recorder) -> asyncio.Future[bytes]:
    """Submit a request and wait until its batch runs."""
    first = queue.submit(texts("first"))
    await asyncio.to_thread(recorder.started.wait, 10)
    return first


def test_requests_that_wait_together_form_one_batch_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH_TEXTS", 3)
    recorder = Recorder()

    async def scenario(queue: BatchQueue) -> None:
        first = await occupied(queue, recorder)
        others = [queue.submit(texts(name, name)) for name in "abc"]
        assert len(queue) == 4
        recorder.released.set()
        assert await asyncio.gather(first, *others) == [b"first", b"a", b"b", b"c"]
        assert len(queue) == 0

    run(recorder, scenario)
    assert recorder.batches == [["first"], ["a", "b"], ["c"]]


def test_abandoned_requests_are_not_computed() -> None:
    recorder = Recorder()

    async def scenario(queue: BatchQueue) -> None:
        first = await occupied(queue, recorder)
        queue.submit(texts("gone")).cancel()
        first.cancel()
        last = queue.submit(texts("last"))
        recorder.released.set()
        assert await last == b"last"

    run(recorder, scenario)
    assert recorder.batches == [["first"], ["last"]]


def test_late_requests_fail_without_being_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "QUEUE_SECONDS", 0)
    recorder = Recorder()

    async def scenario(queue: BatchQueue) -> None:
        late = queue.submit(texts("late"))
        with pytest.raises(TimeoutError):
            await late

    run(recorder, scenario)
    assert recorder.batches == []


def test_a_failed_batch_does_not_stop_the_queue() -> None:
    recorder = Recorder()
    recorder.released.set()

    async def scenario(queue: BatchQueue) -> None:
        with pytest.raises(RuntimeError, match="no memory"):
            await queue.submit(texts("fail"))
        assert await queue.submit(texts("next")) == b"next"

    run(recorder, scenario)
