"""The embedding store: what the teacher said about every sentence of a corpus, on disk, once.

A folder, or any fsspec URL, of Arrow shards, one for each shard of the corpus, that training maps into memory:

    store/manifest.json          teacher, fingerprint, dimension, ...; each shard's rows and SHA-256, once complete
    store/shard-00000.arrow      text (string), embedding (fixed-size list of float16: a unit vector)
    store/shard-00000.json       until the store is complete: the shard is there, and this is its SHA-256
    store/corpus/                the sentences the shards were made from
    store/tokens-HASH/           the same sentences as token ids of one student's tokenizer

Of a store at a URL, shards and token ids lie in ~/.cache/asterisk, too: made or fetched once, and kept.
"""

import hashlib
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
from asterisk.teachers.remote_folder import Place
from asterisk.teachers.shards import POLL_SECONDS, MappedColumn, shard_name, share_shards, write_shard
from asterisk.teachers.teacher import Teacher
from asterisk.teachers.token_store import TokenStore, tokenize_shards, tokenizer_hash

STORE_VERSION = 1
# Sentences that the teacher embeds at a time: few enough for the bar to move, and enough to batch by length.
SENTENCES_PER_CALL = 2_048


class EmbeddingStore:
    """A complete store, mapped into memory. Rows are numbered through all shards.

    Attributes:
        folder: The local folder of the shards.
        settings: What the store was made with: teacher, fingerprint, dimension, ...
        truncated: How many sentences were longer than the teacher reads.
        rows_per_shard: The rows of each shard.
    """

    def __init__(self, location: Path | str):
        """Opens a store at a path or URL.

        Raises:
            UserError: The store is missing, unfinished, of a newer version, or a shard is not what its checksum says.
        """
        place = Place(location)
        manifest = _read_manifest(place)
        if manifest is None:
            raise UserError(f"There is no {place.name}/{MANIFEST}.")
        if "shards" not in manifest:
            raise UserError(f"The store {place.name} is unfinished; run the command that made it again.")
        self.folder = place.folder
        self.settings: dict[str, Any] = manifest["settings"]
        self.truncated: int = manifest["truncated"]
        self.rows_per_shard: list[int] = [shard["rows"] for shard in manifest["shards"]]
        self._columns: list[MappedColumn] = []
        self._texts: list[pa.Array] = []
        self._embeddings: list[np.ndarray] = []
        for shard in manifest["shards"]:
            path = place.fetch(shard["file"], shard["sha256"])
            embeddings, texts = MappedColumn(path, "embedding"), MappedColumn(path, "text")
            column = embeddings.values
            if (len(column), column.type.list_size) != (shard["rows"], self.settings["dimension"]):
                raise UserError(
                    f"{path} holds {len(column)} vectors of {column.type.list_size} dimensions, but {place.name}/"
                    f"{MANIFEST} says {shard['rows']} of {self.settings['dimension']}; make the store again."
                )
            self._embeddings.append(column.values.to_numpy().reshape(len(column), -1))
            self._texts.append(texts.values)
            self._columns += [embeddings, texts]
        if place.remote is not None:
            remove_leftovers(self.folder)
        self._first_rows = np.concatenate([[0], np.cumsum(self.rows_per_shard)])
        self._checksum = hashlib.sha256("".join(shard["sha256"] for shard in manifest["shards"]).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """The teacher's unit vectors of the rows: (number of rows, dimension), float16."""
        gathered = np.empty((len(rows), self.settings["dimension"]), dtype=np.float16)
        shards = self._shards_of(rows)
        for shard in np.unique(shards):
            inside = shards == shard
            gathered[inside] = self._embeddings[shard][rows[inside] - self._first_rows[shard]]
        return gathered

    def texts(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The sentences of the rows."""
        return [
            self._texts[shard][int(row - self._first_rows[shard])].as_py()
            for shard, row in zip(self._shards_of(rows), rows, strict=True)
        ]

    def release(self) -> None:
        """Takes what was read of the shards out of this process's memory."""
        for column in self._columns:
            column.release()

    def tokens(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenStore:
        """The sentences as token ids, truncated to `max_length`; tokenised once for each tokenizer and length.

        They lie in the store, or, where nobody may write to it, in ~/.cache/asterisk.
        """

        def texts(index: int) -> list[str]:
            texts = self._texts[index].to_pylist()
            self.release()
            return texts

        return tokenize_shards(
            texts,
            self.rows_per_shard,
            self._checksum,
            tokenizer,
            max_length,
            writable_folder(self.folder),
        )

    def _shards_of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.searchsorted(self._first_rows, rows, side="right") - 1


def embed_corpus(corpus: Corpus, teacher: Teacher, location: Path | str) -> EmbeddingStore:
    """Embeds the shards of the corpus that the store does not hold yet, together with the other processes of this run.

    Every process of `accelerate launch` calls this, outside `main_process_first`. Ranks begin with a share of the
    shards each and wait for the others by looking at the store, never in a barrier, which would time out. In a folder,
    whoever is free takes over what is left, as do other runs of the same command; of a process that was killed,
    nothing is lost but the shard it was at.

    Args:
        corpus: The sentences.
        teacher: What embeds them.
        location: The path or fsspec URL of the store; all processes must see the same.

    Raises:
        UserError: The place holds a store that another teacher, or the same with other settings, made; it cannot be
            written; or the teacher gives vectors that are not finite or not as wide as it says.
    """
    state = this_process()
    place = Place(location)
    # Elsewhere nothing tells which shards the processes of other machines are at.
    shared = place.remote is None
    embed_shards(corpus, teacher, location, state.process_index, state.num_processes, help_others=shared)
    while not _finish(place, len(corpus.rows_per_shard)):
        if shared and _read_manifest(place) is None:
            raise UserError(f"{place.name}/{MANIFEST} was removed while the store was made; run the command again.")
        time.sleep(POLL_SECONDS)
    return EmbeddingStore(location)


def embed_shards(
    corpus: Corpus, teacher: Teacher, location: Path | str, rank: int, world: int, help_others: bool = False
) -> None:
    """Embeds the missing shards of one rank, and finishes the store if they were the last: a cluster's task.

    Args:
        corpus: The sentences.
        teacher: What embeds them.
        location: The path or fsspec URL of the store.
        rank: The shards are those whose index is `rank` modulo `world`.
        world: The number of ranks.
        help_others: Whether to go on with the other ranks' shards.

    Raises:
        UserError: See [`embed_corpus`].
    """
    place = Place(location)
    make_folder(place.folder)
    settings = _settings(corpus, teacher)
    complete = _check(place, settings)
    paths = [place.folder / shard_name(index) for index in range(len(corpus.rows_per_shard))]
    rows = corpus.rows_per_shard
    progress = progress_bar(
        "Embedding with the teacher",
        "sentences",
        total=corpus.num_sentences,
        initial=sum(rows[index] for index in range(len(rows)) if place.exists(_marker(index))),
        shown=rank == 0,
    )

    def make(index: int) -> None:
        truncated = embed_shard(corpus.shard(index), teacher, paths[index], progress.update)
        # Only now, so that a teacher that fails at once leaves nothing that would refuse the right one.
        _begin(place, settings)
        place.upload(paths[index].name)
        done = {"file": paths[index].name, "rows": rows[index], "truncated": truncated}
        place.write_json(_marker(index), {**done, "sha256": file_hash(paths[index])})

    if not (complete and _finish(place, len(paths))):
        share_shards(paths, lambda index: _is_done(place, index), make, progress, rank, world, help_others)
        _finish(place, len(paths))
    progress.close()


def embed_shard(texts: list[str], teacher: Teacher, path: Path, on_progress: Callable[[int], Any]) -> int:
    """Embeds one shard's sentences and writes it; returns how many sentences the teacher truncated.

    Raises:
        UserError: A vector is not finite or not as wide as the teacher says, or the file cannot be written.
    """
    truncated = 0
    embeddings = np.empty((len(texts), teacher.dimension), dtype=np.float16)
    for start in range(0, len(texts), SENTENCES_PER_CALL):
        part = texts[start : start + SENTENCES_PER_CALL]
        vectors, cut = teacher.encode(part)
        embeddings[start : start + len(part)] = _checked(vectors, part, teacher)
        truncated += cut
        on_progress(len(part))
    column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), teacher.dimension)
    write_shard(path, pa.table({"text": pa.array(texts, pa.large_string()), "embedding": column}))
    return truncated


def _checked(vectors: Any, texts: list[str], teacher: Teacher) -> np.ndarray:
    """The vectors as float16, refused if they are not what the teacher promises."""
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
    """What a store is made with."""
    tokenizer = getattr(teacher, "tokenizer", None)
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


def _check(place: Place, settings: dict[str, Any]) -> bool:
    """Refuses a store that was made with other settings; returns whether it is complete. Writes nothing."""
    manifest = _read_manifest(place)
    if manifest is None:
        return False
    refuse_difference(place.name, manifest["settings"], settings, "give another --store_dir, or delete this one")
    return "shards" in manifest


def _begin(place: Place, settings: dict[str, Any]) -> None:
    """Writes what the store is made with, unless that is there; what is made otherwise is refused.

    A shard without its marker counts for nothing, so one that was made in vain does no harm.
    """
    with locked(place.folder / MANIFEST):
        if _read_manifest(place) is None:
            place.write_json(MANIFEST, {"version": STORE_VERSION, "settings": settings})
    _check(place, settings)


def _finish(place: Place, num_shards: int) -> bool:
    """Completes the manifest if all shards are there; returns whether it is complete. Any process may, at any time."""
    manifest = _read_manifest(place)
    if manifest is None:
        return False
    known = manifest.get("shards", [None] * num_shards)
    shards = [place.read_json(_marker(index)) or known[index] for index in range(num_shards)]
    if not all(shard is not None and place.exists(shard["file"]) for shard in shards):
        return False
    if shards != known:
        truncated = sum(shard["truncated"] for shard in shards)
        share = truncated / sum(shard["rows"] for shard in shards)
        place.write_json(MANIFEST, {**manifest, "truncated": truncated, "truncated_share": share, "shards": shards})
    # Whoever misses a marker from now on finds the complete manifest.
    place.remove("shard-*.json")
    remove_leftovers(place.folder)
    return True


def _is_done(place: Place, index: int) -> bool:
    marker = place.read_json(_marker(index))
    if marker is None:
        return "shards" in (_read_manifest(place) or {}) and place.exists(shard_name(index))
    if place.remote is not None:
        # Its bytes are looked at when they are fetched.
        return place.exists(marker["file"])
    path = place.folder / shard_name(index)
    return path.is_file() and file_hash(path) == marker["sha256"]


def _read_manifest(place: Place) -> dict[str, Any] | None:
    manifest = place.read_json(MANIFEST)
    if manifest is None:
        return None
    where = f"{place.name}/{MANIFEST}"
    try:
        if manifest["version"] > STORE_VERSION:
            raise UserError(f"{where} is of version {manifest['version']}; this Asterisk reads {STORE_VERSION}.")
        manifest["settings"]["dimension"]
        if "shards" in manifest:
            manifest["truncated"]
            for index, shard in enumerate(manifest["shards"]):
                # Nothing else may be opened in the name of a store.
                if shard["file"] != shard_name(index):
                    raise UserError(f"{where} names {shard['file']!r} where {shard_name(index)} belongs.")
                shard["rows"], shard["sha256"]
    except KeyError as error:
        raise UserError(f"{where} is not the manifest of a store: it has no {error}.") from None
    except TypeError as error:
        raise UserError(f"{where} is not the manifest of a store ({error}).") from None
    return manifest


def _marker(index: int) -> str:
    return Path(shard_name(index)).with_suffix(".json").name
