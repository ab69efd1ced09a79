"""A teacher behind an OpenAI-compatible embeddings API, which vLLM, Ollama, LiteLLM and most services offer too.

The official client (pip install '.[api]') retries on 408, 409, 429, 5xx, timeouts and dropped connections, after the
time in the Retry-After header or an exponential delay with jitter. This module adds batches, concurrent requests, and
checks of the answers.
"""

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import openai

from asterisk.core.errors import UserError

BATCH_SIZE = 128
# A low estimate: only the rarest scripts have fewer bytes per token.
BYTES_PER_TOKEN = 3
# Estimated tokens of one request; OpenAI accepts 300,000.
REQUEST_TOKENS = 50_000
# Attempts at a request before unusable answers become an error.
ANSWER_ATTEMPTS = 3
# Status codes for a batch that is too large, and for an unknown encoding format.
BATCH_REFUSALS = (400, 413, 422)
FORMAT_REFUSALS = (400, 422)
PROBE = "The quick brown fox jumps over the lazy dog."


class EmbeddingsAPITeacher:
    """A model behind an embeddings API, which reports neither its maximum length nor truncation."""

    max_length = None
    precision = "float32"
    tokenizer = None

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        dimensions: int | None = None,
        batch_size: int = BATCH_SIZE,
        requests_in_flight: int = 8,
        timeout: float = 60.0,
        max_retries: int = 8,
    ):
        """Connect, and embed a fixed sentence, which reveals the dimension and later identifies the model.

        Args:
            model: The API's name for the model.
            base_url: The URL to which `/embeddings` is appended; by default `OPENAI_BASE_URL` or OpenAI's own.
            key_variable: The environment variable that holds the key; it may be unset if `base_url` is given.
            dimensions: The dimension to request, for models that can shorten their vectors.
            batch_size: Maximum number of texts per request. If the server refuses a batch, the limit is lowered to the
                number in its message, or halved.
            requests_in_flight: Maximum number of concurrent requests.
            timeout: Seconds to wait for an answer.
            max_retries: Maximum number of retries of a request that failed for a temporary reason.

        Raises:
            UserError: There is no key, the API refuses the key or the model, or it returns no usable vectors.
        """
        key = os.environ.get(key_variable, "").strip()
        if not key and base_url is None:
            raise UserError(f"There is no API key in the environment variable {key_variable}; set it first.")
        if not (key.isascii() and all(letter.isprintable() for letter in key)):
            raise UserError(f"The environment variable {key_variable} holds characters that no API key has.")
        address = urlsplit(base_url or "https://default")
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query:
            raise UserError(
                "The API's base URL must look like https://host/v1, without a user or key in it; "
                f"the key belongs in the environment variable {key_variable}."
            )
        for name, number in (("batch size", batch_size), ("number of concurrent requests", requests_in_flight)):
            if number < 1:
                raise UserError(f"The API's {name} must be at least 1, not {number}.")
        self.name = f"api:{model}"
        self._model = model
        self._key = key
        self._key_variable = key_variable
        self._requested_dimensions = dimensions
        self._batch_size = batch_size
        self._format: Literal["base64", "float"] = "base64"
        self._requests_in_flight = requests_in_flight
        self._client = openai.OpenAI(
            # The client requires a key, even for a local server that needs none.
            api_key=key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
        )
        self._url = str(self._client.base_url).rstrip("/")
        self.dimension = dimensions or 0
        self._answered = False
        probe = self._embed([PROBE])[0]
        self.dimension = len(probe)
        identity = [model, self._url, dimensions, self.dimension, _direction(probe)]
        self.fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`asterisk.teachers.teacher.Teacher`]. The number of truncated texts is always 0."""
        vectors = [np.empty((0, self.dimension), dtype=np.float32)]
        with ThreadPoolExecutor(self._requests_in_flight) as pool:
            vectors += pool.map(self._embed, _batches(texts, self._batch_size))
        return np.concatenate(vectors), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Raise a [`UserError`]: an API provides no tokenizer."""
        raise UserError(f"The teacher {self.name} has no tokenizer.")

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Embed texts in one request, or in several if they exceed the batch limit."""
        attempts = 0
        while len(texts) <= self._batch_size:
            encoding = self._format
            try:
                answer = self._client.embeddings.create(
                    model=self._model,
                    input=texts,
                    dimensions=openai.omit if self._requested_dimensions is None else self._requested_dimensions,
                    encoding_format=encoding,
                )
                vectors = _unit_vectors(answer, len(texts), self.dimension)
                self._answered = True
                return vectors
            except openai.APIStatusError as error:
                if error.status_code in FORMAT_REFUSALS and encoding == "base64" and not self._answered:
                    self._format = "float"
                elif error.status_code in BATCH_REFUSALS and len(texts) > 1:
                    # Another thread may have set an even lower limit.
                    self._batch_size = min(self._batch_size, _batch_limit(_message(error), len(texts)))
                else:
                    raise UserError(self._explanation(error)) from None
            except openai.APIConnectionError as error:
                is_late = isinstance(error, openai.APITimeoutError)
                problem = "did not answer in time" if is_late else "could not be reached"
                raise UserError(
                    f"The embeddings API {self._url} {problem}, {self._client.max_retries + 1} times in a row; "
                    "check the base URL and the network, or try again later."
                ) from None
            except (openai.APIError, AttributeError, TypeError, ValueError) as error:
                attempts += 1
                if attempts == ANSWER_ATTEMPTS:
                    raise UserError(
                        f"The embeddings API {self._url} answers with something other than the {len(texts)} requested "
                        f"vectors: {self._without_key(str(error))}."
                    ) from None
                time.sleep(2.0**attempts / 4)
        size = self._batch_size
        return np.concatenate([self._embed(texts[start : start + size]) for start in range(0, len(texts), size)])

    def _explanation(self, error: openai.APIStatusError) -> str:
        remedies = {
            401: f"set the environment variable {self._key_variable} to a valid key",
            403: f"the key in the environment variable {self._key_variable} lacks permission for this",
            404: f"check the model's name, {self._model}, and the base URL",
            429: "check the account's rate limit and quota, or try again later",
        }
        default = "try again later" if error.status_code >= 500 else "check the model's name and options"
        return (
            f"The embeddings API {self._url} refuses with status {error.status_code} "
            f"({self._without_key(_message(error))}); {remedies.get(error.status_code, default)}."
        )

    def _without_key(self, message: str) -> str:
        if self._key:
            message = message.replace(self._key, "***")
        return " ".join(message.split())[:300].rstrip(".")


def _message(error: openai.APIStatusError) -> str:
    """Return the server's message if its answer has OpenAI's form, else the client's."""
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)


def _batch_limit(message: str, refused: int) -> int:
    """Return the batch size in the server's message, or half the refused one.

    text-embeddings-inference says "batch size 128 > maximum allowed batch size 32", DashScope "batch size is invalid,
    it should not be larger than 10".
    """
    found = re.search(r"batch size.*?(?:maximum\D*|larger than |at most |exceeds? )(\d+)", message, re.IGNORECASE)
    if found and 0 < int(found[1]) < refused:
        return int(found[1])
    return refused // 2


def _batches(texts: list[str], batch_size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    tokens = 0
    for text in texts:
        size = len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1
        if batch and (len(batch) == batch_size or tokens + size > REQUEST_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += size
    if batch:
        yield batch


def _unit_vectors(answer: Any, count: int, dimension: int) -> np.ndarray:
    """Return an answer's vectors, scaled to unit length, in the order of the texts: (count, dimension), float32.

    A `dimension` of 0 allows any width.

    Raises:
        AttributeError, TypeError, ValueError: The answer is malformed.
    """
    # Some servers omit the index.
    indices: list[Any] = [getattr(item, "index", None) for item in answer.data]
    if all(index is None for index in indices):
        indices = list(range(len(indices)))
    if sorted(indices) != list(range(count)):
        raise ValueError(f"the answer has {len(indices)} vectors, whose indices are not 0 to {count - 1}")
    vectors = np.stack([_decode(answer.data[indices.index(row)].embedding) for row in range(count)])
    vectors = vectors.astype(np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != (dimension or vectors.shape[1]):
        raise ValueError(f"the vectors have shape {vectors.shape[1:]} instead of {dimension} dimensions")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise ValueError("a vector is not finite, or zero")
    return (vectors / norms).astype(np.float32)


def _decode(embedding: Any) -> np.ndarray:
    # Servers without base64 support send numbers.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)


def _direction(vector: np.ndarray) -> list[bool]:
    """Return on which side of each of 16 fixed random planes a vector lies.

    Even rounded numbers would differ between calls, since an API's results vary slightly. A vector turned by 0.1
    degrees changes a side in 1 of 110 cases; an unrelated model's vector does so in all but 1 of 65,536 cases.
    """
    planes = np.random.RandomState(0).standard_normal((16, len(vector)))
    return (planes @ vector > 0).tolist()
