"""The sentences of a store as token ids of one student's tokenizer, computed once and kept on disk."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asterisk.core.checksums import checksum_line, file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST, make_folder, write_text
from asterisk.core.locks import remove_leftovers
from asterisk.core.processes import this_process
from asterisk.core.progress import progress_bar
from asterisk.data.corpus import Corpus
from asterisk.teachers.shards import (
    MappedShard,
    ShardCache,
    shard_name,
    shards_of,
    share_order,
    share_shards,
    write_shard,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts per call of the tokenizer, whose output takes more than a kilobyte per text.
TEXTS_PER_CALL = 4_096


class TokenStore:
    """The token ids of every row of a store, memory-mapped. Rows are numbered across shards.

    Attributes:
        lengths: The number of tokens of each row, int32.
    """

    def __init__(self, paths: list[Path]):
        """Check the shards and read the lengths.

        Raises:
            UserError: A shard is missing or damaged.
        """
        for path in paths:
            if not (_is_done(path) and _is_whole(path)):
                raise UserError(f"{path} is missing or damaged; delete it and run the command again.")
        lengths = [np.diff(_map_tokens(path, validate=True)[1][1]).astype(np.int32) for path in paths]
        self.lengths = np.concatenate(lengths)
        self._first_rows = np.concatenate([[0], np.cumsum([len(part) for part in lengths])])
        self._shards = ShardCache(lambda index: _map_tokens(paths[index], validate=False))

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids and attention mask, padded with 0 to the longest row: (number of rows, length), int64."""
        lengths = self.lengths[rows]
        columns = np.arange(max(1, lengths.max(initial=1)))
        mask = columns < lengths[:, None]
        input_ids = np.zeros(mask.shape, dtype=np.int64)
        shards = shards_of(rows, self._first_rows)
        for shard in np.unique(shards):
            inside = shards == shard
            token_ids, offsets = self._shards[shard]
            starts = offsets[rows[inside] - self._first_rows[shard]]
            positions = (starts[:, None] + columns)[mask[inside]]
            input_ids[mask & inside[:, None]] = token_ids[positions]
        return input_ids, mask.astype(np.int64)

    def release(self) -> None:
        """Drop the pages read so far from this process's memory."""
        self._shards.release()


def tokenize_corpus(corpus: Corpus, tokenizer: "PreTrainedTokenizerBase", max_length: int, folder: Path) -> TokenStore:
    """Tokenise the sentences of a corpus, for training without a teacher; see [`tokenize_shards`]."""
    made_from = file_hash(corpus.folder / MANIFEST)
    return tokenize_shards(corpus.shard, corpus.rows_per_shard, made_from, tokenizer, max_length, folder)


def tokenize_shards(
    texts: Callable[[int], list[str]],
    rows_per_shard: list[int],
    made_from: str,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    folder: Path,
) -> TokenStore:
    """Tokenise the missing shards together with the other processes of this run.

    Args:
        texts: Returns the sentences of a shard, by its index.
        rows_per_shard: The number of sentences of each shard.
        made_from: A string that changes whenever the sentences change.
        tokenizer: The student's tokenizer.
        max_length: The number of tokens to which longer sentences are truncated.
        folder: The parent of the folder of token ids.

    Raises:
        UserError: A file cannot be written or is damaged.
    """
    identity = f"{tokenizer_hash(tokenizer)} {max_length} {made_from}"
    folder = folder / f"tokens-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    make_folder(folder)
    paths = [folder / shard_name(index) for index in range(len(rows_per_shard))]
    state = this_process()
    order = share_order(len(paths), state.process_index, state.num_processes)
    order = [index for index in order if not _is_done(paths[index])]
    progress = progress_bar(
        "Tokenising",
        "sentences",
        total=sum(rows_per_shard),
        initial=sum(rows_per_shard) - sum(rows_per_shard[index] for index in order),
        shown=state.is_local_main_process,
    )

    def make(index: int) -> None:
        write_shard(paths[index], pa.table({"input_ids": _tokenize(texts(index), tokenizer, max_length)}))
        write_text(_checksum_file(paths[index]), checksum_line(paths[index], folder))
        progress.update(rows_per_shard[index])

    share_shards(folder, order, lambda index: _is_done(paths[index]), make, progress)
    progress.close()
    remove_leftovers(folder)
    return TokenStore(paths)


def _map_tokens(path: Path, validate: bool) -> tuple[MappedShard, tuple[np.ndarray, np.ndarray]]:
    """Map a shard with its token ids, int32, and the offset of each row's first id, int64."""
    shard = MappedShard(path, "input_ids", validate=validate)
    column = shard.columns["input_ids"]
    return shard, (column.values.to_numpy(), column.offsets.to_numpy())


def _is_done(path: Path) -> bool:
    return path.exists() and _checksum_file(path).exists()


def _checksum_file(path: Path) -> Path:
    """Return the file with a shard's line of SHA256SUMS; a shard without it does not count."""
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    found = _checksum_file(path).read_text(encoding="utf-8", errors="replace")
    line = checksum_line(path, path.parent)
    # Earlier versions wrote the hash alone.
    return found in (line, line.partition(" ")[0])


def _tokenize(texts: list[str], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> pa.Array:
    """Tokenise texts into lists of int32."""
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
    """Compute the SHA-256 of a tokenizer's content, except truncation and padding, which each call sets."""
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(fast, "to_str"):
        content = json.loads(fast.to_str()) | {"truncation": None, "padding": None}
    else:
        content = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
