"""Serve a published embedding model as OpenAI's `/v1/embeddings`, with FastAPI and uvicorn.

serve.py checks its arguments, and then replaces its process with this module, which imports neither torch nor
transformers.
"""

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from asterisk.core.vectors import quantize, unit
from asterisk.models.onnx import OnnxEmbedder
from asterisk.serving.arguments import Settings
from asterisk.serving.batching import BatchQueue
from asterisk.serving.requests import EmbeddingRequest, read_request

# The body of a request must arrive within this time.
BODY_SECONDS = 30

RETRY = {"Retry-After": "1"}


def create_app(settings: Settings, embedder: OnnxEmbedder) -> FastAPI:
    """Create the service."""
    ranges = np.load(settings.ranges) if settings.ranges else None
    queue = BatchQueue(partial(answer_batch, settings, embedder, ranges))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(queue.run())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_exception_handler(StarletteHTTPException, error_response)

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        return Response("ok")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        created = int(Path(settings.file).stat().st_mtime)
        model = {"id": settings.name, "object": "model", "created": created, "owned_by": "asterisk"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        asked = read_request(await read_body(request, settings.max_body_bytes), settings)
        if len(queue) >= settings.max_waiting:
            sentence = f"The queue is full, with room for {settings.max_waiting}; try again in a second."
            raise HTTPException(429, sentence, RETRY)
        answer = queue.submit(asked)
        disconnected: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait([answer, disconnected], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise HTTPException(400, "The client disconnected.")  # ends the handler; no client reads it
            return Response(answer.result(), media_type="application/json")
        except TimeoutError:
            raise HTTPException(503, "The service is overloaded; try again later.", RETRY) from None
        finally:
            answer.cancel()
            disconnected.cancel()

    return app


def answer_batch(
    settings: Settings, embedder: OnnxEmbedder, ranges: np.ndarray | None, requests: list[EmbeddingRequest]
) -> list[bytes]:
    """Embed the texts of all requests together and return the answer to each, as JSON."""
    token_ids = embedder.token_ids([text for request in requests for text in request.input])
    vectors = embedder.embed(token_ids)
    answers, end = [], 0
    for request in requests:
        start, end = end, end + len(request.input)
        embeddings: Any = unit(vectors[start:end, : request.dimensions]).astype("<f4")
        if request.output_dtype not in (None, "float"):
            embeddings = quantize(embeddings, request.output_dtype, ranges)
        if request.encoding_format == "base64":
            embeddings = [base64.b64encode(row.tobytes()).decode() for row in embeddings]
        else:
            embeddings = embeddings.tolist()
        tokens = sum(map(len, token_ids[start:end]))
        answer = {
            "object": "list",
            "data": [{"object": "embedding", "index": row, "embedding": each} for row, each in enumerate(embeddings)],
            "model": settings.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        answers.append(to_json(answer))
    return answers


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body of a request.

    Raises:
        HTTPException: Status 413 if it exceeds `limit` bytes, 408 if it arrives too slowly, 400 if it ends early.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise HTTPException(413, f"A request may have at most {limit:,} bytes.")
    except TimeoutError:
        raise HTTPException(408, f"The body of the request did not arrive within {BODY_SECONDS} seconds.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The request ended before its body did.") from None
    return bytes(body)


async def error_response(_: Request, error: Exception) -> JSONResponse:
    """Return an error in the format that OpenAI's clients parse."""
    assert isinstance(error, StarletteHTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    content = {"error": {"message": error.detail, "type": kind, "param": None, "code": None}}
    return JSONResponse(content, error.status_code, error.headers)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer the requests received so far and exit."""
    # uvicorn handles both signals while it runs, and raises them again at its end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    app = create_app(settings, OnnxEmbedder(Path(settings.file), settings.threads))
    config = uvicorn.Config(app, settings.host, settings.port, log_level="warning", access_log=False)
    socket = config.bind_socket()
    socket.listen(config.backlog)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"Serving {settings.name} ({settings.file}) at http://{host}:{settings.port}/v1/embeddings", flush=True)
    uvicorn.Server(config).run([socket])


if __name__ == "__main__":
    serve(Settings(**json.loads(sys.argv[1])))
