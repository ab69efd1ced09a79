"""One class for all text encoders: it turns strings into unit vectors, and has a revision that identifies it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.core.vectors import unit
from asterisk.models.resolve import model_name

# From texts to unit vectors (number of texts, dimensions), float32.
Encode = Callable[[list[str]], np.ndarray]


@dataclass
class LoadedModel:
    """A model of any kind, ready to embed."""

    # Takes texts, a prompt and the batch size; returns vectors (number of texts, width) of any type and norm.
    embed: Callable[[list[str], str | None, int], Any]
    # Everything that the vectors depend on besides the weights.
    settings: dict[str, Any]
    # A hash of the weights.
    weights: str
    num_parameters: int
    num_bytes: int
    max_length: int | None = None
    prompts: dict[str, str] = field(default_factory=dict)


class TextEncoder:
    """A text encoder made from any [`LoadedModel`].

    `name` is the model's name in results. `revision` is a hash of the weights and of every setting that changes the
    vectors. `prompts` maps the names of MTEB's tasks, task types or prompt types to prompts.
    """

    def __init__(
        self,
        spec: str,
        model: LoadedModel,
        truncate_dim: int | None = None,
        prompts: dict[str, str] | None = None,
    ):
        """Wrap a model, and embed one text as a check.

        Args:
            spec: The model as the user names it.
            model: The loaded model.
            truncate_dim: The number of leading dimensions to keep; by default all.
            prompts: Prompts by name; they override the model's own.

        Raises:
            UserError: `truncate_dim` exceeds the model's dimensions, or a vector is not finite.
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
        """Embed texts, at most `batch_size` in a forward pass; `prompt` precedes each, by default the model's own.

        Returns:
            Unit vectors (number of texts, dimension), float32, in the order of the texts. A static model returns zeros
            for a text without any known token.

        Raises:
            UserError: The batch size is below 1, or a vector is not finite.
        """
        if batch_size < 1:
            raise UserError(f"The batch size must be at least 1, not {batch_size}.")
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        # Benchmarks repeat sentences: a quarter of those in the STS tasks are duplicates. Sorting makes forward passes
        # independent of the order of the texts.
        distinct = sorted(set(texts))
        vectors = unit(self._embed(distinct, prompt, batch_size)[:, : self.dimension])
        row = {text: index for index, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]]

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
