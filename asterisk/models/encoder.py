"""Any text encoder behind one method: strings in, unit vectors out, and a revision that says which one it was."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from asterisk.core.errors import UserError
from asterisk.models.resolve import model_name

# Characters of one forward pass on a CPU, padding included: about 2,000 tokens, few enough to stay in its caches.
CPU_CHARACTERS = 8_192


# English has four to five characters a token; what lies beyond a model's longest text costs nothing.
CHARACTERS_PER_TOKEN = 5


# From texts to unit vectors (number of texts, dimensions), float32.
Encode = Callable[[list[str]], np.ndarray]


class Encoder(Protocol):
    """What measuring needs of a model."""

    name: str
    revision: str
    dimension: int
    num_parameters: int
    num_bytes: int
    prompts: dict[str, str]

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        """Unit vectors (number of texts, dimension), float32, in the order of the texts.

        Args:
            texts: Any number of strings.
            batch_size: Texts per forward pass, at most.
            prompt: Put before every text; by default the model's own default prompt, if it has one.
        """


@dataclass
class LoadedModel:
    """A model of any kind, ready to embed, as the loaders below give it."""

    # Embeds texts after a prompt, so many in a forward pass at most: (number of texts, width), of any type and norm.
    embed: Callable[[list[str], str | None, int], Any]
    # Everything but the weights' values that its vectors depend on.
    settings: dict[str, Any]
    weights: str
    num_parameters: int
    num_bytes: int
    max_length: int | None = None
    device: str = "cpu"
    prompts: dict[str, str] = field(default_factory=dict)
    # Whether `embed` takes any number of texts, and makes passes of them itself.
    makes_passes: bool = False


class TextEncoder:
    """An [`Encoder`] of any [`LoadedModel`]: batches of even length, truncated dimensions, unit vectors."""

    def __init__(
        self,
        spec: str,
        model: LoadedModel,
        truncate_dim: int | None = None,
        prompts: dict[str, str] | None = None,
    ):
        """Embeds one text, to see that the model works.

        Args:
            spec: What the user calls the model.
            model: What computes the vectors.
            truncate_dim: Keep only the first so many dimensions.
            prompts: By name, beside or instead of the model's own.

        Raises:
            UserError: There are not as many dimensions, or the model gives no finite vectors.
        """
        self.spec = spec
        self.name = model_name(spec)
        self.num_parameters = model.num_parameters
        self.num_bytes = model.num_bytes
        self.prompts = {**model.prompts, **(prompts or {})}
        self.max_length = model.max_length
        self._model = model
        width = np.shape(self._embed(["a"], None, 1))[1]
        if truncate_dim is not None and not 1 <= truncate_dim <= width:
            raise UserError(f"{spec} has {width} dimensions; truncate_dim must lie between 1 and {width}.")
        self.dimension = truncate_dim or width
        made_from = [model.weights, model.settings, self.dimension, self.prompts]
        self.revision = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        """See [`Encoder`]. A text without any token, which a static model cannot place, is all zeros.

        Raises:
            UserError: The batch size is below 1, or a vector is not finite.
        """
        if batch_size < 1:
            raise UserError(f"The batch size must be at least 1, not {batch_size}.")
        # Benchmarks repeat themselves: a quarter of the sentences of the STS tasks are not new.
        distinct = sorted(set(texts), key=lambda text: (len(text), text), reverse=True)
        vectors = np.empty((len(distinct), self.dimension), dtype=np.float32)
        start = 0
        for batch in [distinct] if self._model.makes_passes else self._batches(distinct, batch_size):
            vectors[start : start + len(batch)] = self._embed(batch, prompt, batch_size)[:, : self.dimension]
            start += len(batch)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        row = {text: index for index, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]]

    def _batches(self, texts: list[str], batch_size: int) -> Iterator[list[str]]:
        """Texts from the longest to the shortest, so that hardly any of a batch is padding."""
        start = 0
        while start < len(texts):
            size = batch_size
            if self._model.device == "cpu":
                longest = min(len(texts[start]), CHARACTERS_PER_TOKEN * (self.max_length or len(texts[start])))
                size = max(1, min(batch_size, CPU_CHARACTERS // max(1, longest)))
            yield texts[start : start + size]
            start += size

    def _embed(self, texts: list[str], prompt: str | None, batch_size: int) -> np.ndarray:
        vectors = np.asarray(self._model.embed(texts, prompt, batch_size), dtype=np.float32)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            text = texts[int((~finite).argmax())]
            raise UserError(
                f"The model {self.spec} gives a vector that is not finite for the text {text[:80]!r}; its weights "
                "may be broken, or its precision too low."
            )
        return vectors
