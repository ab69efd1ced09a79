"""The embedding store: a teacher's vector for every sentence of a corpus, computed once and kept on disk.

A store is a folder, or any fsspec URL, of Arrow shards, one for each shard of the corpus:

    store/manifest.json          teacher, fingerprint, dimension, ...; each shard's rows and SHA-256, once complete
    store/shard-00000.arrow      text (string), embedding (fixed-size list of float16: a unit vector)
    store/shard-00000.json       until the store is complete: marks the shard as done and holds its SHA-256
    store/corpus/                the sentences that the shards were made from
    store/tokens-HASH/           the same sentences as token ids of one student's tokenizer

The shards and token ids of a store at a URL are also kept in ~/.cache/asterisk.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST, make_folder, writable_folder
from asterisk.core.locks import locked, remove_leftovers
from asterisk.core.processes import this_process
from asterisk.core.progress import progress_bar
from asterisk.core.run_folder import refuse_difference
from asterisk.data.corpus import Corpus
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.shards import (
    POLL_SECONDS,
    MappedShard,
    ShardCache,
    shard_name,
    shards_of,
    share_order,
    share_shards,
    write_shard,
)
from asterisk.teachers.teacher import Teacher
from asterisk.teachers.token_store import TokenStore, tokenize_shards, tokenizer_hash

STORE_VERSION = 1
# Sentences per call of the teacher: few enough to move the progress bar, enough to batch by length.
SENTENCES_PER_CALL = 2_048
# Seconds between two looks at a store at a URL, each of which lists all its files.
REMOTE_POLL_SECONDS = 10.0


class EmbeddingStore:
    """A complete store. Rows are numbered through all shards; a shard is fetched, checked and mapped at its first use.

    Attributes:
        folder: The local folder of the shards.
        settings: What the store was made with: teacher, fingerprint, dimension, ...
        truncated: The number of sentences that were longer than the teacher reads.
        rows_per_shard: The number of rows of each shard.
    """

    def __init__(self, location: Path | str):
        """Open a store at a path or URL; only its manifest is read.

        Raises:
            UserError: The store is missing, unfinished or of a newer version.
        """
        self._source = RemoteFolder(location)
        manifest = _read_manifest(self._source)
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
        """Fetch and check every shard now, rather than at its first use.

        Raises:
            UserError: A shard is missing, damaged or not as the manifest describes it.
        """
        for index in np.flatnonzero(~self._checked):
            self._shards[index]
        if self._source.system is not None:
            remove_leftovers(self.folder)

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """The teacher's unit vectors of the rows: (number of rows, dimension), float16.

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
        """The sentences of the rows."""
        return [
            self._shards[shard][0][int(row - self._first_rows[shard])].as_py()
            for shard, row in zip(shards_of(rows, self._first_rows), rows, strict=True)
        ]

    def release(self) -> None:
        """Drop the pages read so far from this process's memory."""
        self._shards.release()

    def tokens(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenStore:
        """The sentences as token ids, truncated to `max_length` tokens; computed once per tokenizer and length.

        They are kept in the store or, where it is not writable, in ~/.cache/asterisk.
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
        """A shard with its texts and its vectors (rows, dimension)."""
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


def embed_corpus(corpus: Corpus, teacher: Teacher, location: Path | str) -> EmbeddingStore:
    """Embed the shards of the corpus that the store lacks, together with the other processes of this run.

    Every process of `accelerate launch` calls this function, outside `main_process_first`. Each rank begins with its
    share of the shards. Ranks wait for each other by looking at the store, never in a barrier, which would time out.
    In a local folder a free process takes over remaining shards, also those of other runs of the same command; a
    process that is killed loses only the shard that it was making.

    Args:
        corpus: The sentences.
        teacher: The model that embeds them.
        location: The path or fsspec URL of the store, visible to all processes.

    Returns:
        The complete store, with every shard checked.

    Raises:
        UserError: The location holds a store of another teacher or other settings; the store cannot be written or is
            damaged; or the teacher gives vectors that are not finite or not as wide as it says.
    """
    state = this_process()
    folder = RemoteFolder(location)
    # At a URL nothing tells which shards the processes of other machines are making.
    is_local = folder.system is None
    finished = embed_shards(corpus, teacher, location, state.process_index, state.num_processes, help_others=is_local)
    while not finished:
        if is_local and _read_manifest(folder) is None:
            raise UserError(f"{folder.name}/{MANIFEST} was removed while the store was made; run the command again.")
        time.sleep(POLL_SECONDS if is_local else REMOTE_POLL_SECONDS)
        finished = _finish(folder, len(corpus.rows_per_shard))
    store = EmbeddingStore(location)
    store.check_shards()
    return store


def embed_shards(
    corpus: Corpus, teacher: Teacher, location: Path | str, rank: int, world: int, help_others: bool = False
) -> bool:
    """Embed the missing shards of one rank, and complete the store if no other shard is missing.

    Args:
        corpus: The sentences.
        teacher: The model that embeds them.
        location: The path or fsspec URL of the store.
        rank: Shards with index `rank` modulo `world` belong to this rank.
        world: The number of ranks.
        help_others: Whether to continue with the other ranks' shards.

    Returns:
        Whether the store is complete.

    Raises:
        UserError: See [`embed_corpus`].
    """
    folder = RemoteFolder(location)
    make_folder(folder.local)
    settings = _settings(corpus, teacher)
    is_complete = _check_settings(folder, settings)
    rows = corpus.rows_per_shard
    names = folder.names()
    marked = {index for index in range(len(rows)) if _marker(index) in names}
    done = {index for index in range(len(rows)) if (is_complete or index in marked) and shard_name(index) in names}
    progress = progress_bar(
        "Embedding with the teacher",
        "sentences",
        total=corpus.num_sentences,
        initial=sum(rows[index] for index in done),
        shown=rank == 0,
    )

    def make(index: int) -> None:
        path = folder.local / shard_name(index)
        truncated = embed_shard(corpus.shard(index), teacher, path, progress.update)
        # Not earlier: a teacher that fails at once must not leave settings that refuse the right one.
        _begin(folder, settings)
        folder.upload(path.name)
        record = {"file": path.name, "rows": rows[index], "truncated": truncated, "sha256": file_hash(path)}
        folder.write_json(_marker(index), record)

    order = [
        index
        for index in share_order(len(rows), rank, world, help_others)
        if index not in done or (index in marked and _changed_since_marked(folder, index))
    ]
    share_shards(folder.local, order, lambda index: _is_done(folder, index), make, progress)
    progress.close()
    return _finish(folder, len(rows))


def embed_shard(texts: list[str], teacher: Teacher, path: Path, on_progress: Callable[[int], Any]) -> int:
    """Embed the sentences of one shard and write it.

    Returns:
        The number of sentences that the teacher truncated.

    Raises:
        UserError: A vector is not finite or not as wide as the teacher says, or the file cannot be written.
    """
    truncated = 0
    embeddings = np.empty((len(texts), teacher.dimension), dtype=np.float16)
    for start in range(0, len(texts), SENTENCES_PER_CALL):
        part = texts[start : start + SENTENCES_PER_CALL]
        vectors, truncated_here = teacher.encode(part)
        embeddings[start : start + len(part)] = _checked_vectors(vectors, part, teacher)
        truncated += truncated_here
        on_progress(len(part))
    column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), teacher.dimension)
    write_shard(path, pa.table({"text": pa.array(texts, pa.large_string()), "embedding": column}))
    return truncated


def _checked_vectors(vectors: Any, texts: list[str], teacher: Teacher) -> np.ndarray:
    """The vectors as float16; wrong shapes and values that are not finite are refused."""
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(vectors, dtype=np.float16)
        found = f"of shape {vectors.shape}"
    except (TypeError, ValueError):
        found = "of mixed widths"
    wanted = (len(texts), teacher.dimension)
    if found != f"of shape {wanted}":
        raise UserError(f"The teacher {teacher.name} gave vectors {found} instead of {wanted}; it is not usable.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise UserError(f"The teacher {teacher.name} gave a vector that is not finite for {texts[broken[0]][:80]!r}.")
    return vectors


def _settings(corpus: Corpus, teacher: Teacher) -> dict[str, Any]:
    """The settings that a store records."""
    tokenizer = teacher.tokenizer
    return {
        "teacher": teacher.name,
        "teacher_precision": teacher.precision,
        "teacher_fingerprint": teacher.fingerprint,
        "teacher_tokenizer": tokenizer_hash(tokenizer) if tokenizer is not None else None,
        "dimension": teacher.dimension,
        "max_length": teacher.max_length,
        "normalized": True,
        "dtype": "float16",
        "sentences": corpus.num_sentences,
    }


def _check_settings(folder: RemoteFolder, settings: dict[str, Any]) -> bool:
    """Refuse a store that was made with other settings; returns whether it is complete. Writes nothing."""
    manifest = _read_manifest(folder)
    if manifest is None:
        return False
    refuse_difference(folder.name, manifest["settings"], settings, "give another --store_dir, or delete this one")
    return "shards" in manifest


def _begin(folder: RemoteFolder, settings: dict[str, Any]) -> None:
    """Write the settings, unless they are there; refuse others.

    A shard without its marker does not count, so one that was made in vain does no harm.
    """
    with locked(folder.local / MANIFEST):
        if _read_manifest(folder) is None:
            folder.write_json(MANIFEST, {"version": STORE_VERSION, "settings": settings})
    _check_settings(folder, settings)


def _finish(folder: RemoteFolder, num_shards: int) -> bool:
    """Complete the manifest if all shards are done; returns whether it is complete. Any process may call this."""
    names = folder.names()
    if any(shard_name(index) not in names for index in range(num_shards)):
        return False
    manifest = _read_manifest(folder)
    if manifest is None:
        return False
    markers = {index for index in range(num_shards) if _marker(index) in names}
    known = manifest.get("shards")
    if known is None and len(markers) < num_shards:
        return False
    shards = [
        (folder.read_json(_marker(index)) if index in markers else None) or (known[index] if known else None)
        for index in range(num_shards)
    ]
    if None in shards:  # another process has completed the store in the meantime
        return False
    if shards != known:
        truncated = sum(shard["truncated"] for shard in shards)
        share = truncated / sum(shard["rows"] for shard in shards)
        folder.write_json(MANIFEST, {**manifest, "truncated": truncated, "truncated_share": share, "shards": shards})
    # From now on, a process that finds no marker finds the complete manifest.
    folder.remove([_marker(index) for index in sorted(markers)])
    remove_leftovers(folder.local)
    return True


def _changed_since_marked(folder: RemoteFolder, index: int) -> bool:
    """Whether a shard may be damaged, so that its checksum decides; other damage is found when it is read."""
    if folder.system is not None:
        return False
    try:
        marked = os.stat(f"{folder.local}/{_marker(index)}").st_mtime_ns
        return os.stat(f"{folder.local}/{shard_name(index)}").st_mtime_ns >= marked
    except FileNotFoundError:  # another process has completed the store since
        return False


def _is_done(folder: RemoteFolder, index: int) -> bool:
    marker = folder.read_json(_marker(index))
    if not folder.exists(shard_name(index)):
        return False
    if marker is None:
        return "shards" in (_read_manifest(folder) or {})
    # A file at a URL is checked when it is fetched.
    return folder.system is not None or file_hash(folder.local / shard_name(index)) == marker["sha256"]


def _read_manifest(folder: RemoteFolder) -> dict[str, Any] | None:
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


def _marker(index: int) -> str:
    return f"shard-{index:05d}.json"
