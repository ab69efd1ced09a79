"""A queue that embeds all waiting requests as one batch."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from asterisk.serving.requests import EmbeddingRequest

# A batch takes no further request once it holds this many texts.
BATCH_TEXTS = 256

# A request that waits longer than this for its batch fails.
QUEUE_SECONDS = 30


class BatchQueue:
    """A queue of requests in order of arrival; `run` answers them in batches, computed in one worker thread.

    When the worker is free, it takes all waiting requests, so a single request is not delayed, and batches grow with
    the load.

    Args:
        compute: Returns the answers to a batch of requests, in their order.
    """

    def __init__(self, compute: Callable[[list[EmbeddingRequest]], list[bytes]]):
        self._compute = compute
        self._waiting: asyncio.Queue[tuple[EmbeddingRequest, asyncio.Future[bytes], float]] = asyncio.Queue()
        self._running = 0

    def __len__(self) -> int:
        """Return the number of requests in the queue and in the running batch."""
        return self._waiting.qsize() + self._running

    def submit(self, request: EmbeddingRequest) -> asyncio.Future[bytes]:
        """Queue a request.

        Returns:
            The future answer. It is not computed if it is cancelled before its batch starts. It fails with a
            TimeoutError after `QUEUE_SECONDS` in the queue.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((request, answer, monotonic() + QUEUE_SECONDS))
        return answer

    async def run(self) -> None:
        """Answer requests until cancelled."""
        with ThreadPoolExecutor(1, "embedding") as worker:
            while True:
                requests, answers = await self._next_batch()
                self._running = len(requests)
                computed = asyncio.get_running_loop().run_in_executor(worker, self._compute, requests)
                await asyncio.wait([computed])
                self._running = 0
                for index, answer in enumerate(answers):
                    if answer.done():  # cancelled
                        continue
                    if error := computed.exception():
                        answer.set_exception(error)
                    else:
                        answer.set_result(computed.result()[index])

    async def _next_batch(self) -> tuple[list[EmbeddingRequest], list[asyncio.Future[bytes]]]:
        requests: list[EmbeddingRequest] = []
        answers: list[asyncio.Future[bytes]] = []
        texts = 0
        while not requests or (texts < BATCH_TEXTS and not self._waiting.empty()):
            request, answer, deadline = await self._waiting.get()
            if answer.done():  # cancelled
                continue
            if monotonic() > deadline:
                answer.set_exception(TimeoutError())
                continue
            requests.append(request)
            answers.append(answer)
            texts += len(request.input)
        return requests, answers
