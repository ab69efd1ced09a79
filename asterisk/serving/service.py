"""A published embedding model behind OpenAI's `/v1/embeddings`, on LitServe; serve.py starts it.

LitServe has the processes, the queue and the batches; here are what a request may hold, and one sentence for each that
holds something else. Neither torch nor transformers is imported: serve.py, which reads its flags with transformers,
gives its process over to this module.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import litserve
import numpy as np
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from litserve.loops.simple_loops import BatchedLoop
from litserve.specs.openai_embedding import EmbeddingRequest, EmbeddingResponse, OpenAIEmbeddingSpec
from litserve.transport.base import MessageTransport
from litserve.utils import set_log_level
from pydantic import StrictInt, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from asterisk.core.vectors import unit
from asterisk.models.onnx import OnnxEmbedder

# Requests that one batch may join.
MOST_JOINED = 64

# In which a request's body has to come: as long as it may wait for its answer.
BODY_SECONDS = 30


@dataclass(frozen=True)
class Settings:
    """What is served, where, and how much one may ask."""

    file: str  # the ONNX file of a published folder
    name: str  # what answers say the model is
    dimensions: int
    host: str
    port: int
    threads: int
    max_body_bytes: int
    max_texts: int
    max_waiting: int


class TextsRequest(EmbeddingRequest):
    """OpenAI's request, as it comes: `input` is looked at by [`texts_of`], and any `model` is taken, or none."""

    input: Any
    model: str = ""
    dimensions: StrictInt | None = None


class EmbeddingService(litserve.LitAPI):
    """What LitServe's worker runs: the texts of all waiting requests are embedded together."""

    def __init__(self, settings: Settings):
        super().__init__(spec=EmbeddingsSpec(settings), max_batch_size=MOST_JOINED, loop=PatientLoop())
        self.settings = settings

    def setup(self, device: str) -> None:
        """Loads the model."""
        # Ctrl-C reaches every process of a terminal; this one is needed until all requests are answered.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.embedder = OnnxEmbedder(Path(self.settings.file), self.settings.threads)

    def decode_request(self, request: TextsRequest) -> TextsRequest:  # type: ignore[override]
        """The request, whole: LitServe's would lose its `dimensions`."""
        return request

    def predict(self, requests: list[TextsRequest]) -> list[dict[str, Any]]:  # type: ignore[override]
        """Embeds the texts of several requests; gives each its own answer."""
        token_ids = self.embedder.token_ids([text for request in requests for text in request.input])
        vectors = self.embedder.embed(token_ids)
        ends = np.cumsum([len(request.input) for request in requests])
        answers = []
        for request, end in zip(requests, ends, strict=True):
            rows = slice(end - len(request.input), end)
            tokens = sum(map(len, token_ids[rows]))
            embeddings = unit(vectors[rows, : request.dimensions])
            answers.append({"embeddings": embeddings, "prompt_tokens": tokens, "total_tokens": tokens})
        return answers

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """The answer, which has its form already."""
        return output


class EmbeddingsSpec(OpenAIEmbeddingSpec):
    """LitServe's endpoint, with limits, and with several texts in each of the requests of a batch."""

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings

    def pre_setup(self, lit_api: litserve.LitAPI) -> None:
        """Registers the endpoint."""
        super().pre_setup(lit_api)
        # Else requests of several texts are refused where requests are joined, which `predict` knows to take apart.
        self._max_batch_size = 1

    async def embeddings_endpoint(self, request: Request) -> EmbeddingResponse:  # type: ignore[override]
        """Answers one request.

        Raises:
            HTTPException: 408, 413, 400 or 429, with a sentence.
        """
        asked = self.read(await self.body(request))
        if len(self.response_buffer) >= self.settings.max_waiting:
            sentence = f"The queue is full, with room for {self.settings.max_waiting}; try again in a second."
            raise HTTPException(429, sentence, headers={"Retry-After": "1"})
        response = await super().embeddings_endpoint(asked)
        response.model = self.settings.name
        return response

    async def body(self, request: Request) -> bytes:
        """The request's body, of which no more is kept than the limit."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self.settings.max_body_bytes:
                        raise HTTPException(413, f"A request may have {self.settings.max_body_bytes:,} bytes at most.")
        except TimeoutError:
            raise HTTPException(408, f"The body of the request did not come within {BODY_SECONDS} seconds.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The request ended before its body did.") from None
        return bytes(body)

    def read(self, body: bytes) -> TextsRequest:
        """The request that a body holds, `input` being a list of texts."""
        try:
            asked = TextsRequest.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            place = f"`{first['loc'][0]}`" if first["loc"] else "The body"
            raise HTTPException(400, f"{place} is wrong: {first['msg']}.") from None
        asked.input = texts_of(asked.input, self.settings.max_texts)
        if asked.dimensions is not None and not 1 <= asked.dimensions <= self.settings.dimensions:
            sentence = f"`dimensions` must lie between 1 and {self.settings.dimensions}, not be {asked.dimensions}."
            raise HTTPException(400, sentence)
        return asked


class PatientLoop(BatchedLoop):
    """LitServe's loop of batches, which sleeps until there is a request instead of asking for one all the time."""

    def get_batch_requests(
        self, lit_api: litserve.LitAPI, request_queue: Queue, transport: MessageTransport
    ) -> tuple[list, list]:
        """What is waiting, at least one request."""
        return super().get_batch_requests(lit_api, PatientQueue(request_queue), transport)  # type: ignore[arg-type]


class PatientQueue:
    """A queue whose first `get_nowait` waits."""

    def __init__(self, queue: Queue):
        self._queue = queue
        self._waited = False

    def get_nowait(self) -> Any:
        """The next item; but for the first time, raises `queue.Empty` if there is none."""
        block, self._waited = not self._waited, True
        return self._queue.get(block)


def texts_of(given: Any, most: int) -> list[str]:
    """The texts of an `input`.

    Raises:
        HTTPException: 400: it is neither a text nor a list of up to `most` texts, or a text is empty.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise HTTPException(400, f"`input` must be a text or a list of texts, not {type(given).__name__}.")
    if not texts:
        raise HTTPException(400, "`input` is an empty list; it must hold one text at least.")
    if len(texts) > most:
        raise HTTPException(400, f"`input` may hold {most:,} texts at most, not {len(texts):,}.")
    for number, text in enumerate(texts, 1):
        if isinstance(text, (int, list)):
            raise HTTPException(400, "`input` seems to hold token ids, which differ between models; send texts.")
        if not isinstance(text, str):
            raise HTTPException(400, f"`input` must hold texts, but number {number} is {type(text).__name__}.")
        if not text:
            raise HTTPException(400, f"Text number {number} of `input` is empty; leave it out.")
    return texts


class Server(litserve.LitServer):
    """LitServe's server, which says when it is ready."""

    def __init__(self, settings: Settings):
        super().__init__(EmbeddingService(settings), accelerator="cpu", disable_openapi_url=True)
        self.app.add_exception_handler(StarletteHTTPException, error_response)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.ready = f"Serving {settings.name} ({settings.file}) at http://{host}:{settings.port}/v1/embeddings"

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """What happens between loading and the end."""
        async with super().lifespan(app):
            print(self.ready, flush=True)
            yield


async def error_response(_: Request, error: Exception) -> JSONResponse:
    """An error in the form in which OpenAI's clients look for its sentence."""
    assert isinstance(error, StarletteHTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    content = {"error": {"message": error.detail, "type": kind, "param": None, "code": None}}
    return JSONResponse(content, error.status_code, error.headers)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, and then until what has been asked is answered.

    Connections are refused until the model is loaded.
    """
    serving = os.getpid()

    def stop(*_: object) -> None:
        # LitServe's monitor takes the end of its worker, which is then due, for an accident.
        set_log_level(logging.CRITICAL)
        # The process of the HTTP server inherits this, and comes here when it has finished.
        raise KeyboardInterrupt if os.getpid() == serving else SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        Server(settings).run(
            settings.host,
            settings.port,
            num_api_servers=1,  # the one that counts who is waiting
            generate_client_file=False,
            log_level="warning",
        )
    except KeyboardInterrupt:  # before all was started
        pass
    except EOFError:  # LitServe's monitor has ended all
        sys.exit("error: the process that embeds has ended by itself, perhaps for want of memory.")
    finally:
        for child in multiprocessing.active_children():
            child.terminate()


if __name__ == "__main__":
    serve(Settings(**json.loads(sys.argv[1])))
