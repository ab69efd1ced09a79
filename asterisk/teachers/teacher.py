"""A frozen sentence encoder of any kind: texts in, unit vectors out, and a fingerprint that says which one it was."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from asterisk.core.errors import UserError
from asterisk.models.passes import CPU_PASS_TOKENS, passes_by_length
from asterisk.models.precision import resolve_dtype
from asterisk.models.resolve import loading, resolve_model, weights_hash
from asterisk.teachers.precomputed import PrecomputedTeacher

# Tokens of one forward pass on a GPU, padding included: enough to keep it busy.
GPU_PASS_TOKENS = 16_384


FORMS = "a folder, a Hub id (owner/name), package:NAME, vectors:PATH[#COLUMN] or api:MODEL"


class Teacher(Protocol):
    """What the rest of the workshop needs of a teacher."""

    name: str
    dimension: int
    precision: str
    fingerprint: str

    @property
    def max_length(self) -> int | None:
        """The longest text in tokens, special ones included; None if the teacher does not tell."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """None if the teacher shows none; then `encode_tokens` raises a [`UserError`]."""

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Unit vectors (number of texts, dimension), float32, in order, and how many texts were truncated."""

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Unit vectors (number of ids, dimension), float32, of texts of one token each."""


def load_teacher(
    spec: str,
    dtype: str = "auto",
    pooling: str = "mean",
    device: str | None = None,
    *,
    text_column: str = "text",
    base_url: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    dimensions: int | None = None,
    requests_per_minute: float | None = None,
    requests_in_flight: int = 8,
) -> Teacher:
    """The teacher that a `--teacher` names.

    Args:
        spec: A folder, Hub id or `package:NAME` of a model ([`SentenceTransformerTeacher`]); `vectors:PATH` or
            `vectors:PATH#COLUMN` ([`PrecomputedTeacher`]); or `api:MODEL` (`EmbeddingsAPITeacher`).
        dtype: Of a model: "float32", "bfloat16" or "auto".
        pooling: Of a model that does not say itself: "mean", "cls", "max" or "lasttoken".
        device: Of a model: a torch device; by default the best there is.
        text_column: Of vectors: the column of the texts.
        base_url: Of an API: what `/embeddings` is appended to; by default OpenAI's.
        key_variable: Of an API: the environment variable that holds the key.
        dimensions: Of an API: asks for shortened vectors of this width.
        requests_per_minute: Of an API: requests started in a minute, at most; by default any number.
        requests_in_flight: Of an API: requests that wait for their answer at the same time, at most.

    Raises:
        UserError: The spec has none of these forms, or the teacher cannot be loaded.
    """
    kind, colon, value = spec.partition(":")
    if kind == "api" and value:
        try:
            from asterisk.teachers.api import EmbeddingsAPITeacher
        except ImportError:
            raise UserError(f"The teacher {spec} needs the openai package: pip install '.[api]'.") from None
        return EmbeddingsAPITeacher(
            value,
            base_url,
            key_variable,
            dimensions,
            requests_per_minute=requests_per_minute,
            requests_in_flight=requests_in_flight,
        )
    if base_url is not None or dimensions is not None:
        raise UserError(f"A base URL and dimensions are for a teacher api:MODEL, not for {spec}.")
    path, _, column = value.partition("#")
    if kind == "vectors" and path:
        return PrecomputedTeacher(path, column or "embedding", text_column)
    if not spec or (colon and not (kind == "package" and value) and not Path(spec).expanduser().is_dir()):
        raise UserError(f"There is no teacher {spec!r}; give {FORMS}.")
    return SentenceTransformerTeacher(spec, dtype, pooling, device)


class SentenceTransformerTeacher:
    """Any sentence-transformers model, or plain transformers encoder with a pooling, from a folder or the Hub."""

    def __init__(self, name: str, dtype: str = "auto", pooling: str = "mean", device: str | None = None):
        """Loads the model.

        Args:
            name: A folder, a Hub id, or `package:NAME` for what the installed package NAME carries in `model/`.
            dtype: "float32", "bfloat16", or "auto": bfloat16 where the processor computes in it.
            pooling: Used only if the folder does not say itself: "mean", "cls", "max" or "lasttoken".
            device: A torch device; by default the best there is.

        Raises:
            UserError: There is no such model, or it has no weights or no tokenizer.
        """
        from asterisk.models.sentence_transformer import load_sentence_transformer

        self.name = name
        location = resolve_model(name)
        folder = Path(location)
        if folder.is_dir():
            _check_folder(folder)
        precision = resolve_dtype(dtype, device)
        self.precision = str(precision).removeprefix("torch.")
        with loading(f"The teacher {name}"):
            self.model = load_sentence_transformer(location, dtype=precision, pooling=pooling, device=device)
        self.tokenizer = self.model.tokenizer
        self.dimension = int(self.model.get_embedding_dimension() or 0)
        self.max_length = int(self.model.max_seq_length or 512)
        self.fingerprint = weights_hash(self.model)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`Teacher`]."""
        prompt = self.model.prompts.get(self.model.default_prompt_name or "") or ""
        encoded = self.tokenizer(
            [prompt + text for text in texts],
            truncation=True,
            max_length=self.max_length,
            return_overflowing_tokens=True,
        )
        # A truncated text comes with its rest as further rows.
        rows = encoded["overflow_to_sample_mapping"]
        first_rows = [row for row, text in enumerate(rows) if row == 0 or rows[row - 1] != text]
        truncated = len({text for row, text in enumerate(rows) if row > 0 and rows[row - 1] == text})
        return self._encode_ids([encoded["input_ids"][row] for row in first_rows]), truncated

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """See [`Teacher`]."""
        # What the tokenizer puts around a text, seen on one.
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self.tokenizer("a")["input_ids"]
        start = next(index for index in range(len(whole)) if whole[index : index + len(bare)] == bare)
        prefix, suffix = whole[:start], whole[start + len(bare) :]
        return self._encode_ids([[*prefix, token, *suffix] for token in token_ids])

    @torch.inference_mode()
    def _encode_ids(self, token_ids: list[list[int]]) -> np.ndarray:
        """Embeds token sequences, longest first, in batches of a fixed number of tokens: hardly any is padding."""
        budget = CPU_PASS_TOKENS if self.model.device.type == "cpu" else GPU_PASS_TOKENS
        vectors = np.empty((len(token_ids), self.dimension), dtype=np.float32)
        for rows in passes_by_length([len(ids) for ids in token_ids], budget):
            longest = max(1, len(token_ids[rows[0]]))
            input_ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id or 0)
            for index, row in enumerate(rows):
                input_ids[index, : len(token_ids[row])] = torch.tensor(token_ids[row])
            lengths = torch.tensor([len(token_ids[row]) for row in rows])
            attention_mask = (torch.arange(longest) < lengths[:, None]).long()
            vectors[rows] = self._forward({"input_ids": input_ids, "attention_mask": attention_mask})
        return vectors

    def _forward(self, features: dict[str, torch.Tensor]) -> np.ndarray:
        features = {name: tensor.to(self.model.device) for name, tensor in features.items()}
        output = self.model(features)["sentence_embedding"].float()
        return torch.nn.functional.normalize(output, dim=-1).cpu().numpy()


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise UserError(f"The teacher folder {folder} has neither config.json nor modules.json; give a model folder.")
    if not any(folder.rglob("*.safetensors")):
        raise UserError(f"The teacher folder {folder} holds no weights; it should hold a model.safetensors.")
