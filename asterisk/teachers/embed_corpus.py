"""Embed a corpus into the shards of a store, with any number of processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST, make_folder
from asterisk.core.locks import locked, remove_leftovers
from asterisk.core.processes import this_process
from asterisk.core.progress import progress_bar
from asterisk.core.run_folder import refuse_difference
from asterisk.data.corpus import Corpus
from asterisk.teachers.remote_folder import RemoteFolder
from asterisk.teachers.shards import POLL_SECONDS, shard_name, share_order, share_shards, write_shard
from asterisk.teachers.store import STORE_VERSION, EmbeddingStore, read_manifest
from asterisk.teachers.teacher import Teacher
from asterisk.teachers.token_store import tokenizer_hash

# Sentences per call of the teacher: few enough for a smooth progress bar, enough for batches of similar length.
SENTENCES_PER_CALL = 2_048
# Seconds between polls of a store at a URL, each of which lists all its files.
REMOTE_POLL_SECONDS = 10.0


def embed_corpus(corpus: Corpus, teacher: Teacher, location: Path | str) -> EmbeddingStore:
    """Embed the missing shards of the store, together with the other processes of this run.

    Every process of `accelerate launch` calls this function, outside `main_process_first`. Each rank begins with its
    share of the shards. Ranks wait for each other by polling the store, since a barrier would time out. In a local
    folder, an idle process takes over remaining shards, even those of other runs of the same command. A killed process
    loses only its current shard.

    Args:
        corpus: The sentences.
        teacher: The model that embeds them.
        location: The path or fsspec URL of the store, visible to all processes.

    Returns:
        The complete store, with every shard checked.

    Raises:
        UserError: The location holds a store of another teacher or with other settings; the store cannot be written or
            is damaged; or the teacher returns vectors that are not finite or not of its dimension.
    """
    state = this_process()
    folder = RemoteFolder(location)
    # A URL offers no locks, so processes cannot see which shards others are making.
    is_local = folder.system is None
    finished = embed_shards(corpus, teacher, location, state.process_index, state.num_processes, help_others=is_local)
    while not finished:
        if is_local and read_manifest(folder) is None:
            raise UserError(f"{folder.name}/{MANIFEST} was removed during the embedding; run the command again.")
        time.sleep(POLL_SECONDS if is_local else REMOTE_POLL_SECONDS)
        finished = _finish_store(folder, len(corpus.rows_per_shard))
    store = EmbeddingStore(location)
    store.check_shards()
    return store


def embed_shards(
    corpus: Corpus, teacher: Teacher, location: Path | str, rank: int, world: int, help_others: bool = False
) -> bool:
    """Embed the missing shards of one rank, and complete the store if no shard is then missing.

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

    is_recorded = False

    def make(index: int) -> None:
        nonlocal is_recorded
        path = folder.local / shard_name(index)
        truncated = embed_shard(corpus.shard(index), teacher, path, progress.update)
        if not is_recorded:
            # Record the settings only now: a teacher that fails on the first shard must not block a working one.
            _record_settings(folder, settings)
            is_recorded = True
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
    return _finish_store(folder, len(rows))


def embed_shard(texts: list[str], teacher: Teacher, path: Path, on_progress: Callable[[int], Any]) -> int:
    """Embed the sentences of one shard, and write it.

    Args:
        texts: The sentences.
        teacher: The model that embeds them.
        path: The file to write.
        on_progress: Called with the number of newly embedded sentences.

    Returns:
        The number of sentences that the teacher truncated.

    Raises:
        UserError: A vector is not finite or not of the teacher's dimension, or the file cannot be written.
    """
    truncated = 0
    embeddings = np.empty((len(texts), teacher.dimension), dtype=np.float16)
    for start in range(0, len(texts), SENTENCES_PER_CALL):
        part = texts[start : start + SENTENCES_PER_CALL]
        vectors, truncated_here = teacher.encode(part)
        embeddings[start : start + len(part)] = _check_vectors(vectors, part, teacher)
        truncated += truncated_here
        on_progress(len(part))
    column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), teacher.dimension)
    write_shard(path, pa.table({"text": pa.array(texts, pa.large_string()), "embedding": column}))
    return truncated


def _check_vectors(vectors: Any, texts: list[str], teacher: Teacher) -> np.ndarray:
    """Convert vectors to float16; refuse wrong shapes and values that are not finite."""
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(vectors, dtype=np.float16)
        found = f"of shape {vectors.shape}"
    except (TypeError, ValueError):
        found = "of mixed widths"
    expected = (len(texts), teacher.dimension)
    if found != f"of shape {expected}":
        raise UserError(f"The teacher {teacher.name} gave vectors {found} instead of {expected}; it is not usable.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise UserError(f"The teacher {teacher.name} gave a vector that is not finite for {texts[broken[0]][:80]!r}.")
    return vectors


def _settings(corpus: Corpus, teacher: Teacher) -> dict[str, Any]:
    """Return the settings that a store records."""
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
    """Return whether the store is complete; refuse a store with other settings. Nothing is written."""
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    refuse_difference(folder.name, manifest["settings"], settings, "give another --store_dir, or delete this one")
    return "shards" in manifest


def _record_settings(folder: RemoteFolder, settings: dict[str, Any]) -> None:
    """Write the settings if none are recorded; refuse a store with other settings.

    A shard that was made with other settings does no harm: shards without a marker do not count.
    """
    with locked(folder.local / MANIFEST):
        if read_manifest(folder) is None:
            folder.write_json(MANIFEST, {"version": STORE_VERSION, "settings": settings})
    _check_settings(folder, settings)


def _finish_store(folder: RemoteFolder, num_shards: int) -> bool:
    """Complete the manifest if all shards are done; return whether it is complete. Any process may call this."""
    names = folder.names()
    if any(shard_name(index) not in names for index in range(num_shards)):
        return False
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    markers = {index for index in range(num_shards) if _marker(index) in names}
    if "shards" not in manifest and len(markers) < num_shards:
        return False
    known: list[Any] = manifest.get("shards", [None] * num_shards)
    shards = [
        (folder.read_json(_marker(index)) if index in markers else None) or known[index] for index in range(num_shards)
    ]
    if None in shards:  # another process has completed the store in the meantime
        return False
    if shards != known:
        truncated = sum(shard["truncated"] for shard in shards)
        share = truncated / sum(shard["rows"] for shard in shards)
        folder.write_json(MANIFEST, {**manifest, "truncated": truncated, "truncated_share": share, "shards": shards})
    # Remove markers last: a process that finds no marker must find the complete manifest.
    folder.remove([_marker(index) for index in sorted(markers)])
    remove_leftovers(folder.local)
    return True


def _changed_since_marked(folder: RemoteFolder, index: int) -> bool:
    """Return whether a shard changed after its marker was written; other damage is found when the shard is read."""
    if folder.system is not None:
        return False
    try:
        marked = os.stat(f"{folder.local}/{_marker(index)}").st_mtime_ns
        return os.stat(f"{folder.local}/{shard_name(index)}").st_mtime_ns >= marked
    except FileNotFoundError:  # another process has completed the store since
        return False


def _is_done(folder: RemoteFolder, index: int) -> bool:
    marker = folder.read_json(_marker(index))
    # A store at a URL charges for every request, so look for the shard only if it may be there.
    if marker is None and "shards" not in (read_manifest(folder) or {}):
        return False
    if not folder.exists(shard_name(index)):
        return False
    # A file at a URL is checked when it is fetched.
    is_checked = marker is None or folder.system is not None
    return is_checked or file_hash(folder.local / shard_name(index)) == marker["sha256"]


def _marker(index: int) -> str:
    return f"shard-{index:05d}.json"
