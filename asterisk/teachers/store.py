"""The embedding store: a teacher's vector for every sentence of a corpus, computed once and kept on disk.

A store is a folder, or any fsspec URL, of Arrow shards, one for each shard of the corpus:

    store/manifest.json          teacher, fingerprint, dimension, ...; each shard's rows and SHA-256, once complete
    store/shard-00000.arrow      text (string), embedding (fixed-size list of float16: a unit vector)
    store/shard-00000.json       marks the shard as done and holds its SHA-256; removed once the store is complete
    store/corpus/                the sentences that the shards were made from
    store/tokens-HASH/           the same sentences as token ids of one student's tokenizer

The shards and token ids of a store at a URL are also kept in ~/.cache/asterisk.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST, writable_folder
from asterisk.core.locks import remove_leftovers
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.shards import MappedShard, ShardCache, shard_name, shards_of
from asterisk.teachers.token_store import TokenStore, tokenize_shards

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STORE_VERSION = 1


class EmbeddingStore:
    """A complete store. Rows are numbered across shards; a shard is fetched, checked and mapped at its first use.

    Attributes:
        folder: The local folder of the shards.
        settings: The settings of the store: teacher, fingerprint, dimension, ...
        truncated: The number of sentences that the teacher truncated.
        rows_per_shard: The number of rows of each shard.
    """

    def __init__(self, location: Path | str):
        """Open a store at a path or URL; only its manifest is read.

        Raises:
            UserError: The store is missing, unfinished or of a newer version.
        """
        self._source = RemoteFolder(location)
        manifest = read_manifest(self._source)
        if manifest is None:
            raise UserError(f"There is no {self._source.name}/{MANIFEST}.")
        if "shards" not in manifest:
            raise UserError(f"The store {self._source.name} is unfinished; run the command that made it again.")
        self.folder = self._source.local
        self.settings: dict[str, Any] = manifest["settings"]
        self.truncated: int = manifest["truncated"]
        self.rows_per_shard: list[int] = [shard["rows"] for shard in manifest["shards"]]
        self._checksums: list[str] = [shard["sha256"] for shard in manifest["shards"]]
        self._checked = np.zeros(len(self._checksums), dtype=bool)
        self._shards = ShardCache(self._open_shard)
        self._first_rows = np.concatenate([[0], np.cumsum(self.rows_per_shard)])

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def check_shards(self) -> None:
        """Fetch and check every shard now rather than at its first use.

        Raises:
            UserError: A shard is missing, damaged or not as the manifest describes it.
        """
        self._source.reserve()
        for index in np.flatnonzero(~self._checked).tolist():
            self._shards[index]
        if self._source.system is not None:
            remove_leftovers(self.folder)

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Return the teacher's unit vectors of the rows: (number of rows, dimension), float16.

        Raises:
            UserError: A shard is missing, damaged or not as the manifest describes it.
        """
        gathered = np.empty((len(rows), self.settings["dimension"]), dtype=np.float16)
        shards = shards_of(rows, self._first_rows)
        for shard in np.unique(shards):
            inside = shards == shard
            gathered[inside] = self._shards[shard][1][rows[inside] - self._first_rows[shard]]
        return gathered

    def texts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return the sentences of the rows."""
        return [
            self._shards[shard][0][int(row - self._first_rows[shard])].as_py()
            for shard, row in zip(shards_of(rows, self._first_rows), rows, strict=True)
        ]

    def release(self) -> None:
        """Drop the pages read so far from this process's memory."""
        self._shards.release()

    def tokens(self, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> TokenStore:
        """Return the sentences as token ids, truncated to `max_length` tokens; they are computed only once.

        The token ids are kept in the store or, if it is read-only, in ~/.cache/asterisk.
        """

        def texts(index: int) -> list[str]:
            texts = self._shards[index][0].to_pylist()
            self.release()
            return texts

        checksum = hashlib.sha256("".join(self._checksums).encode()).hexdigest()
        return tokenize_shards(
            texts, self.rows_per_shard, checksum, tokenizer, max_length, writable_folder(self.folder)
        )

    def _open_shard(self, index: int) -> tuple[MappedShard, tuple[pa.Array, np.ndarray]]:
        """Open a shard with its texts and vectors (rows, dimension)."""
        path = self.folder / shard_name(index)
        if not self._checked[index]:
            self._source.fetch(path.name, self._checksums[index])
        shard = MappedShard(path, "text", "embedding", validate=not self._checked[index])
        texts, column = shard.columns["text"], shard.columns["embedding"]
        rows, dimension = self.rows_per_shard[index], self.settings["dimension"]
        if (len(column), column.type.list_size) != (rows, dimension):
            raise UserError(
                f"{path} holds {len(column)} vectors of {column.type.list_size} dimensions, but {self._source.name}/"
                f"{MANIFEST} says {rows} of {dimension}; make the store again."
            )
        self._checked[index] = True
        return shard, (texts, column.values.to_numpy().reshape(len(column), -1))


class JoinedStore:
    """Several teachers' stores of one corpus, read as one store whose vectors are weighted and concatenated.

    Jasper and Stella (arXiv 2412.19048) learn from such vectors. The cosine of two such vectors is the mean of the
    teachers' cosines, weighted by the squares of the weights.
    """

    def __init__(self, stores: Sequence[EmbeddingStore], weights: Sequence[float]):
        """Join stores.

        Args:
            stores: Stores with the same sentences in the same order.
            weights: A positive weight for each store; they are scaled so that the vectors have unit length.

        Raises:
            UserError: The stores differ in their shards.
        """
        first = stores[0]
        for store in stores[1:]:
            if store.rows_per_shard != first.rows_per_shard:
                raise UserError(
                    f"The stores {first.folder} and {store.folder} are of different corpora; give another --store_dir."
                )
        self._stores = stores
        self._weights = np.array(weights) / np.linalg.norm(weights)
        self.settings = {"dimension": sum(store.settings["dimension"] for store in stores)}
        self.tokens, self.texts = first.tokens, first.texts

    def __len__(self) -> int:
        return len(self._stores[0])

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Return the joined unit vectors of the rows: (number of rows, sum of the dimensions), float32."""
        parts = zip(self._stores, self._weights, strict=True)
        return np.concatenate([store.embeddings(rows) * np.float32(weight) for store, weight in parts], axis=1)

    def release(self) -> None:
        """Drop the pages read so far from this process's memory."""
        for store in self._stores:
            store.release()


def read_manifest(folder: RemoteFolder) -> dict[str, Any] | None:
    """Read the manifest of a store, finished or not; return None if there is none.

    Raises:
        UserError: The manifest is malformed, of a newer version, or names other files than the shards.
    """
    manifest = folder.read_json(MANIFEST)
    if manifest is None:
        return None
    where = f"{folder.name}/{MANIFEST}"
    try:
        if manifest["version"] > STORE_VERSION:
            raise UserError(f"{where} is of version {manifest['version']}; this Asterisk reads {STORE_VERSION}.")
        manifest["settings"]["dimension"]
        if "shards" in manifest:
            manifest["truncated"]
            for index, shard in enumerate(manifest["shards"]):
                # A manifest must not open any other file.
                if shard["file"] != shard_name(index):
                    raise UserError(f"{where} names {shard['file']!r} where {shard_name(index)} belongs.")
                shard["sha256"]
                if not isinstance(shard["rows"], int):
                    raise TypeError(f"{shard['file']} has {shard['rows']!r} rows")
    except KeyError as error:
        raise UserError(f"{where} is not the manifest of a store: it has no {error}.") from None
    except TypeError as error:
        raise UserError(f"{where} is not the manifest of a store ({error}).") from None
    return manifest
