"""A store's sentences as token ids of one student's tokenizer, on disk, once."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST, atomic_file, make_folder
from asterisk.core.locks import remove_leftovers
from asterisk.core.processes import this_process
from asterisk.core.progress import progress_bar
from asterisk.data.corpus import Corpus
from asterisk.teachers.shards import MappedColumn, shard_name, share_shards, write_shard

# Texts that are tokenised at a time.
TEXTS_PER_CALL = 4_096


class TokenStore:
    """Token ids of every row of a store, mapped into memory. Rows are numbered through all shards."""

    def __init__(self, paths: list[Path]):
        """Opens the shards.

        Raises:
            UserError: One is missing or damaged.
        """
        for path in paths:
            if not (path.is_file() and _digest_file(path).is_file() and _read_digest(path) == file_hash(path)):
                raise UserError(f"{path} is missing or damaged; delete it and run the command again.")
        self._columns = [MappedColumn(path, "input_ids") for path in paths]
        self._values = [column.values.values.to_numpy() for column in self._columns]
        self._offsets = [column.values.offsets.to_numpy() for column in self._columns]
        self.lengths = np.concatenate([np.diff(offsets).astype(np.int32) for offsets in self._offsets])
        self._first_rows = np.concatenate([[0], np.cumsum([len(column.values) for column in self._columns])])

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and attention mask of the rows: (number of rows, longest of them), int64; padding is 0."""
        lengths = self.lengths[rows]
        columns = np.arange(max(1, lengths.max(initial=1)))
        mask = columns < lengths[:, None]
        input_ids = np.zeros(mask.shape, dtype=np.int64)
        shards = np.searchsorted(self._first_rows, rows, side="right") - 1
        for shard in np.unique(shards):
            inside = shards == shard
            starts = self._offsets[shard][rows[inside] - self._first_rows[shard]]
            positions = (starts[:, None] + columns)[mask[inside]]
            input_ids[mask & inside[:, None]] = self._values[shard][positions]
        return input_ids, mask.astype(np.int64)

    def release(self) -> None:
        """Takes what was read of the shards out of this process's memory."""
        for column in self._columns:
            column.release()


def tokenize_corpus(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> TokenStore:
    """The sentences of a corpus as token ids, for training without a teacher.

    Args:
        corpus: The sentences.
        tokenizer: The student's.
        max_length: Longer sentences are truncated to so many tokens.
        folder: Where the token ids go, beside those of other tokenizers and lengths.

    Raises:
        UserError: A file cannot be written or is damaged.
    """
    made_from = file_hash(corpus.folder / MANIFEST)
    return tokenize_shards(corpus.shard, corpus.rows_per_shard, made_from, tokenizer, max_length, folder)


def tokenize_shards(
    texts: Callable[[int], list[str]],
    rows_per_shard: list[int],
    made_from: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    folder: Path,
) -> TokenStore:
    """Tokenises the shards that are missing, one at a time, together with the other processes of this run.

    Args:
        texts: The sentences of a shard, by its index.
        rows_per_shard: How many they are.
        made_from: What changes when the sentences do.
        tokenizer: The student's.
        max_length: Longer sentences are truncated to so many tokens.
        folder: Where a folder with the token ids goes.

    Raises:
        UserError: A file cannot be written or is damaged.
    """
    identity = f"{tokenizer_hash(tokenizer)} {max_length} {made_from}"
    folder = folder / f"tokens-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    make_folder(folder)
    paths = [folder / shard_name(index) for index in range(len(rows_per_shard))]
    state = this_process()
    progress = progress_bar(
        "Tokenising",
        "sentences",
        total=sum(rows_per_shard),
        initial=sum(rows for path, rows in zip(paths, rows_per_shard, strict=True) if _is_there(path)),
        shown=state.is_local_main_process,
    )

    def make(index: int) -> None:
        write_shard(paths[index], pa.table({"input_ids": _tokenize(texts(index), tokenizer, max_length)}))
        with atomic_file(_digest_file(paths[index])) as temporary:
            temporary.write_text(file_hash(paths[index]), encoding="utf-8")
        progress.update(rows_per_shard[index])

    share_shards(
        paths, lambda index: _is_there(paths[index]), make, progress, state.process_index, state.num_processes
    )
    progress.close()
    remove_leftovers(folder)
    return TokenStore(paths)


def _is_there(path: Path) -> bool:
    return path.exists() and _digest_file(path).exists()


def _digest_file(path: Path) -> Path:
    """Where a shard's SHA-256 is, without which it counts for nothing."""
    return path.with_suffix(".sha256")


def _read_digest(path: Path) -> str:
    return _digest_file(path).read_text(encoding="utf-8", errors="replace")


def _tokenize(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> pa.Array:
    """Token ids as lists of int32, a few texts at a time: what a tokenizer says of one takes more than a kilobyte."""
    parts = []
    for start in range(0, len(texts), TEXTS_PER_CALL):
        encoded = tokenizer(
            texts[start : start + TEXTS_PER_CALL],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        parts.append(pa.array(encoded["input_ids"], pa.large_list(pa.int32())))
    return pa.concat_arrays(parts)


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of all that a tokenizer does to a text, but for the truncation and padding that each call chooses."""
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(fast, "to_str"):
        content = json.loads(fast.to_str()) | {"truncation": None, "padding": None}
    else:
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
