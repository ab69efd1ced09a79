"""Teachers that are sentence-transformers models or transformers encoders."""

from pathlib import Path

import numpy as np
import torch

from asterisk.core.errors import UserError
from asterisk.models.passes import CPU_PASS_TOKENS, pad_token_ids, passes_by_length
from asterisk.models.precision import dtype_name, resolve_dtype
from asterisk.models.resolve import loading, resolve_model, weights_hash
from asterisk.models.sentence_transformer import load_sentence_transformer

# Tokens per forward pass on a GPU, padding included: enough to keep it busy.
GPU_PASS_TOKENS = 16_384


class SentenceTransformerTeacher:
    """A sentence-transformers model, or a transformers encoder with a pooling, from a folder or the Hub."""

    def __init__(self, name: str, dtype: str = "auto", pooling: str = "mean", device: str | None = None):
        """Load the model.

        Args:
            name: A folder, a Hub id, or `package:NAME` for the `model/` folder of the installed package NAME.
            dtype: "float32", "bfloat16", or "auto" for the faster of the two.
            pooling: The pooling of a model whose files name none: "mean", "cls", "max" or "lasttoken".
            device: A torch device; by default the best one available.

        Raises:
            UserError: There is no such model, or it has no weights or no tokenizer.
        """
        self.name = name
        location = resolve_model(name)
        folder = Path(location)
        if folder.is_dir():
            _check_folder(folder)
        precision = resolve_dtype(dtype, device)
        self.precision = dtype_name(precision)
        with loading(f"The teacher {name}"):
            self.model = load_sentence_transformer(location, dtype=precision, pooling=pooling, device=device)
        self.tokenizer = self.model.tokenizer
        self.dimension = int(self.model.get_embedding_dimension() or 0)
        self.max_length = int(self.model.max_seq_length or 512)
        self.fingerprint = weights_hash(self.model)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`asterisk.teachers.teacher.Teacher`]."""
        prompt = self.model.prompts.get(self.model.default_prompt_name or "") or ""
        encoded = self.tokenizer(
            [prompt + text for text in texts],
            truncation=True,
            max_length=self.max_length,
            return_overflowing_tokens=True,
        )
        # Each truncated text has further rows with the rest of its tokens.
        text_of_row = encoded["overflow_to_sample_mapping"]
        first_rows = [row for row, text in enumerate(text_of_row) if row == 0 or text_of_row[row - 1] != text]
        truncated = len({text for row, text in enumerate(text_of_row) if row > 0 and text_of_row[row - 1] == text})
        return self._encode_ids([encoded["input_ids"][row] for row in first_rows]), truncated

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """See [`asterisk.teachers.teacher.Teacher`]."""
        # Find the special tokens around a text.
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self.tokenizer("a")["input_ids"]
        start = next(index for index in range(len(whole)) if whole[index : index + len(bare)] == bare)
        prefix, suffix = whole[:start], whole[start + len(bare) :]
        return self._encode_ids([[*prefix, token, *suffix] for token in token_ids])

    @torch.inference_mode()
    def _encode_ids(self, token_ids: list[list[int]]) -> np.ndarray:
        budget = CPU_PASS_TOKENS if self.model.device.type == "cpu" else GPU_PASS_TOKENS
        vectors = np.empty((len(token_ids), self.dimension), dtype=np.float32)
        for rows in passes_by_length([len(ids) for ids in token_ids], budget):
            padded = pad_token_ids([token_ids[row] for row in rows], self.tokenizer.pad_token_id or 0)
            ids, mask = (torch.from_numpy(array).to(self.model.device) for array in padded)
            output = self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"].float()
            vectors[rows] = torch.nn.functional.normalize(output, dim=-1).cpu().numpy()
        return vectors


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise UserError(f"The teacher folder {folder} has neither config.json nor modules.json; give a model folder.")
    if not any(folder.rglob("*.safetensors")):
        raise UserError(f"The teacher folder {folder} holds no weights; it should hold a model.safetensors.")
