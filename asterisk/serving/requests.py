"""Read the requests of `/v1/embeddings`; an invalid request gets a one-sentence error."""

import json
from typing import Any, Literal

from fastapi import HTTPException
from pydantic import BaseModel, StrictInt, ValidationError

from asterisk.core.vectors import SCALAR_TYPES
from asterisk.serving.arguments import Settings


class EmbeddingRequest(BaseModel):
    """A request in OpenAI's format. Other fields are ignored; null means an optional field's default."""

    input: Any  # a list of texts after `read_request`
    model: str | None = None
    dimensions: StrictInt | None = None
    encoding_format: Literal["float", "base64"] | None = None
    # An extension of OpenAI's API, named as in Voyage AI's.
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] | None = None


def read_request(body: bytes, settings: Settings) -> EmbeddingRequest:
    """Read the body of a request; raise an HTTPException with status 400 if it is invalid."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    try:
        request = EmbeddingRequest(**content)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"`{first['loc'][0]}` is wrong: {first['msg']}.") from None
    request.input = read_texts(request.input, settings.max_texts)
    if request.dimensions is not None and not 1 <= request.dimensions <= settings.dimensions:
        sentence = f"`dimensions` must lie between 1 and {settings.dimensions}, not {request.dimensions}."
        raise HTTPException(400, sentence)
    if request.output_dtype in SCALAR_TYPES:
        if not settings.ranges:
            sentence = f"`output_dtype` {request.output_dtype} needs value ranges; start the service with --ranges."
            raise HTTPException(400, sentence)
        if request.dimensions not in (None, settings.dimensions):
            raise HTTPException(400, f"The value ranges are for {settings.dimensions} `dimensions`; leave them out.")
    return request


def read_texts(value: Any, max_texts: int) -> list[str]:
    """Read an `input`: a non-empty text, or a list of 1 to `max_texts`; raise an HTTPException for any other."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise HTTPException(400, f"`input` must be a text or a list of texts, not {type(value).__name__}.")
    if not texts:
        raise HTTPException(400, "`input` is an empty list; it must hold at least one text.")
    if len(texts) > max_texts:
        raise HTTPException(400, f"`input` may hold at most {max_texts:,} texts, not {len(texts):,}.")
    for number, text in enumerate(texts, 1):
        if isinstance(text, (int, list)):
            raise HTTPException(400, "`input` seems to hold token ids, which differ between models; send texts.")
        if not isinstance(text, str):
            raise HTTPException(400, f"`input` must hold texts, but number {number} is {type(text).__name__}.")
        if not text:
            raise HTTPException(400, f"Text number {number} of `input` is empty; leave it out.")
        try:
            text.encode()
        except UnicodeEncodeError:
            sentence = f"Text number {number} of `input` holds half of a surrogate pair, which is not a character."
            raise HTTPException(400, sentence) from None
    return texts
