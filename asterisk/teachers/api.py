"""A teacher behind an embeddings API of OpenAI's form, which vLLM, Ollama, LiteLLM and most services speak too.

The official client (pip install '.[api]') sends, waits and tries again: on 408, 409, 429, 5xx, timeouts and dropped
connections, after what the Retry-After header says or else an exponential delay with jitter. Here is what it leaves
open: batches, several requests at once, a limit on their rate, and a look at what comes back.
"""

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai

from asterisk.core.errors import UserError

# An estimate, on the safe side for all but the rarest scripts.
BYTES_PER_TOKEN = 3
# Estimated tokens of one request; OpenAI takes 300,000.
REQUEST_TOKENS = 50_000
# How often a text is sent again because the answer was not usable.
UNUSABLE_ANSWERS = 3
PROBE = "The quick brown fox jumps over the lazy dog."


class EmbeddingsAPITeacher:
    """A model of an embeddings API. How many tokens it reads, and what it truncates, such an API does not tell."""

    max_length = None
    precision = "float32"
    tokenizer = None

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        dimensions: int | None = None,
        batch_size: int = 128,
        requests_in_flight: int = 8,
        requests_per_minute: float | None = None,
        timeout: float = 60.0,
        max_retries: int = 8,
    ):
        """Embeds one fixed sentence, to learn the dimension and to notice later that the model has changed.

        Args:
            model: The model's name at the API.
            base_url: What `/embeddings` is appended to; by default `OPENAI_BASE_URL` or OpenAI's own.
            key_variable: The environment variable that holds the key; it may be unset if `base_url` is given.
            dimensions: Asks for vectors of this width, of models that shorten theirs.
            batch_size: Texts of one request, at most.
            requests_in_flight: Requests that wait for their answer at the same time, at most.
            requests_per_minute: Requests started in a minute, at most, further attempts included.
            timeout: Seconds to wait for an answer.
            max_retries: Further attempts of a request that failed for a reason that may pass.

        Raises:
            UserError: There is no key, the API refuses it or the model, or it gives no usable vectors.
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
        for name, number in (("batch size", batch_size), ("number of requests in flight", requests_in_flight)):
            if number < 1:
                raise UserError(f"The API's {name} must be at least 1, not {number}.")
        if requests_per_minute is not None and not requests_per_minute > 0:
            raise UserError(f"The API's requests per minute must be above 0, not {requests_per_minute}.")
        self.name = f"api:{model}"
        self._model = model
        self._key = key
        self._key_variable = key_variable
        self._requested = dimensions
        self._batch_size = batch_size
        self._requests_in_flight = requests_in_flight
        self._client = openai.OpenAI(
            # A server of one's own often asks for none, but the client does.
            api_key=key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [_Pace(requests_per_minute)]}),
        )
        self._url = str(self._client.base_url).rstrip("/")
        self.dimension = dimensions or 0
        probe = self._embed([PROBE])[0]
        self.dimension = len(probe)
        identity = [model, self._url, dimensions, self.dimension, _direction(probe)]
        self.fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`Teacher`]. The count is 0, whatever the API truncates.

        Raises:
            UserError: The API refuses a request, or still gives no usable answer after the last attempt.
        """
        vectors = [np.empty((0, self.dimension), dtype=np.float32)]
        with ThreadPoolExecutor(self._requests_in_flight) as pool:
            vectors += pool.map(self._embed, _batches(texts, self._batch_size))
        return np.concatenate(vectors), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Raises a [`UserError`]: an API shows no tokenizer."""
        raise UserError(f"The teacher {self.name} has no tokenizer.")

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of the texts of one request."""
        attempts = 0
        while True:
            try:
                answer = self._client.embeddings.create(
                    model=self._model,
                    input=texts,
                    dimensions=openai.omit if self._requested is None else self._requested,
                    encoding_format="base64",
                )
                return _unit_vectors(answer, len(texts), self.dimension)
            except openai.APIStatusError as error:
                raise UserError(self._explanation(error)) from None
            except openai.APIConnectionError as error:
                problem = "gave no answer in time" if isinstance(error, openai.APITimeoutError) else "is not reached"
                raise UserError(
                    f"The embeddings API {self._url} {problem}, {self._client.max_retries + 1} times in a row; "
                    "check the base URL and the network, or try again later."
                ) from None
            except (openai.APIError, AttributeError, TypeError, ValueError) as error:
                attempts += 1
                if attempts == UNUSABLE_ANSWERS:
                    raise UserError(
                        f"The embeddings API {self._url} answers with something other than the {len(texts)} vectors "
                        f"asked for: {self._without_key(str(error))}."
                    ) from None
                time.sleep(2.0**attempts / 4)

    def _explanation(self, error: openai.APIStatusError) -> str:
        remedies = {
            401: f"set the environment variable {self._key_variable} to a valid key",
            403: f"the key in the environment variable {self._key_variable} may not do this",
            404: f"check the model's name, {self._model}, and the base URL",
            429: "allow fewer requests per minute, or look at the account's quota",
        }
        default = "try again later" if error.status_code >= 500 else "check the model's name and options"
        body = error.body if isinstance(error.body, dict) else {}
        said = self._without_key(str(body.get("message") or error.message))
        return (
            f"The embeddings API {self._url} refuses with status {error.status_code} ({said}); "
            f"{remedies.get(error.status_code, default)}."
        )

    def _without_key(self, message: str) -> str:
        if self._key:
            message = message.replace(self._key, "***")
        return " ".join(message.split())[:300].rstrip(".")


class _Pace:
    """Holds each request back until its turn: so many a minute, evenly spaced."""

    def __init__(self, per_minute: float | None):
        self._interval = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        time.sleep(start - now)


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
    """The answer's vectors (count, dimension or, if that is 0, any), float32, in the order of the texts.

    Raises:
        AttributeError, TypeError, ValueError: The answer does not have this form.
    """
    items = sorted(answer.data, key=lambda item: item.index)
    if [item.index for item in items] != list(range(count)):
        raise ValueError(f"{len(items)} vectors came whose indices are not 0 to {count - 1}")
    vectors = np.stack([_decoded(item.embedding) for item in items]).astype(np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != (dimension or vectors.shape[1]):
        raise ValueError(f"the vectors are of shape {vectors.shape[1:]} instead of {dimension} dimensions")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise ValueError("a vector is not finite, or zero")
    return (vectors / norms).astype(np.float32)


def _decoded(embedding: Any) -> np.ndarray:
    # Servers that do not know base64 send numbers.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)


def _direction(vector: np.ndarray) -> list[bool]:
    """The sides of 16 fixed random planes on which a vector lies.

    Digits, even rounded, would differ from call to call, as APIs compute a little differently each time. A vector
    turned by 0.1 degrees changes a side in 1 of 110 cases, that of an unrelated model in all but 1 of 65,536.
    """
    planes = np.random.RandomState(0).standard_normal((16, len(vector)))
    return (planes @ vector > 0).tolist()
