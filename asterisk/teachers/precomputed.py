"""A teacher whose vectors come from a table or an array, looked up by text."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asterisk.core.errors import UserError, one_line
from asterisk.data.arrow_files import open_arrow

# Rows read, checked and copied at once.
ROWS_AT_A_TIME = 4_096


class PrecomputedTeacher:
    """Precomputed vectors, looked up by text; surrounding white space is ignored.

    A repeated text gets its first vector. The vectors are copied to an unnamed temporary file and memory-mapped, so
    memory holds only 16 bytes per text.
    """

    max_length = None
    tokenizer = None

    def __init__(self, path: str, column: str = "embedding", text_column: str = "text"):
        """Read and check all vectors.

        Args:
            path: A Parquet or Arrow file with a column of texts and one of vectors; a folder of such files, such as an
                `EmbeddingStore`; or a .npy file of shape (lines, dimension) beside a UTF-8 file of the same name with
                the suffix .txt, which has one line per row.
            column: The column of the vectors: lists of numbers, all of one length.
            text_column: The column of the texts.

        Raises:
            UserError: A file or column is missing; the numbers of texts and vectors differ; or a vector is missing, of
                another width, not finite or zero.
        """
        self.name = f"vectors:{Path(path).name}"
        self.dimension = 0
        digest = hashlib.sha256()
        keys: list[np.ndarray] = []
        with tempfile.TemporaryFile() as file:
            for where, first, texts, vectors in _read_vectors(Path(path).expanduser(), text_column, column):
                if not self.dimension:
                    self.dimension = vectors.shape[1]
                    self.precision = str(vectors.dtype)
                    kept = np.float16 if vectors.dtype == np.float16 else np.float32
                norms = _norms(where, first, vectors, self.dimension)
                data = (vectors / norms).astype(kept).tobytes()
                keys.append(_text_keys(texts))
                digest.update(keys[-1].tobytes())
                digest.update(data)
                file.write(data)
            if not keys:
                raise UserError(f"There are no vectors in {path}.")
            file.flush()
            all_keys = np.concatenate(keys)
            self._vectors = np.memmap(file, kept, mode="r", shape=(len(all_keys), self.dimension))
        # A stable sort keeps the first of equal texts first.
        self._rows = np.argsort(all_keys, kind="stable")
        self._keys = all_keys[self._rows]
        self.fingerprint = digest.hexdigest()

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`asterisk.teachers.teacher.Teacher`]; a text without a vector raises a [`UserError`]."""
        keys = _text_keys(texts)
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        missing = np.flatnonzero(self._keys[found] != keys)
        if len(missing):
            raise UserError(
                f"The teacher {self.name} has no vector for {len(missing):,} of {len(texts):,} texts, such as "
                f"{texts[missing[0]][:80]!r}; embed these too, or leave them out of the corpus."
            )
        vectors = self._vectors[self._rows[found]].astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Raise a [`UserError`]: vectors have no tokenizer."""
        raise UserError(f"The teacher {self.name} has no tokenizer.")


def _text_keys(texts: list[str]) -> np.ndarray:
    """Hash each text, without surrounding white space, to uint64."""
    digests = (hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8) for text in texts)
    return np.frombuffer(b"".join(digest.digest() for digest in digests), dtype=np.uint64)


def _norms(where: Path, first: int, vectors: np.ndarray, dimension: int) -> np.ndarray:
    """Return the norms of vectors, (number of vectors, 1), float64; refuse invalid ones. `first` is the first row."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    for problem, wrong in (
        (f"has {vectors.shape[1]} dimensions instead of {dimension}", np.array([vectors.shape[1] != dimension])),
        ("is not finite", ~np.isfinite(norms)),
        ("is zero", norms == 0),
    ):
        if wrong.any():
            raise UserError(
                f"{where}: the vector of row {first + wrong.argmax()} {problem}; correct or remove the row."
            )
    return norms


# The file, the number of the first row, the texts, and their vectors (number of texts, dimension).
VectorRows = tuple[Path, int, list[str], np.ndarray]


def _read_vectors(path: Path, text_column: str, column: str) -> Iterator[VectorRows]:
    if path.suffix == ".npy" and path.is_file():
        yield from _read_npy(path)
        return
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in (".parquet", ".arrow") and file.is_file()]
    if not files:
        raise UserError(f"There are no vectors at {path}; give a .parquet, .arrow or .npy file, or a folder of those.")
    for file in files:
        first = 0
        for batch in _read_table(file, text_column, column):
            if not len(batch):
                continue
            texts, lists = batch.column(text_column), batch.column(column)
            lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
            width = lengths[0]
            for problem, wrong in (
                ("has no text", texts.is_null().to_numpy(zero_copy_only=False)),
                ("has no vector", lengths == 0),
                (f"has a vector of another width than the {width} before", lengths != width),
            ):
                if wrong.any():
                    raise UserError(f"{file}: row {first + wrong.argmax()} {problem}; correct or remove the row.")
            vectors = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), width)
            yield file, first, texts.to_pylist(), vectors
            first += len(batch)


def _read_table(file: Path, text_column: str, column: str) -> Iterator[pa.RecordBatch]:
    """Yield the two columns of a Parquet or Arrow file, in batches."""
    try:
        if file.suffix == ".parquet":
            parquet = pq.ParquetFile(file, memory_map=True)
            _check_columns(file, parquet.schema_arrow, text_column, column)
            yield from parquet.iter_batches(ROWS_AT_A_TIME, columns=[text_column, column])
            return
        table = open_arrow(pa.memory_map(str(file))).read_all()
        _check_columns(file, table.schema, text_column, column)
        yield from table.select([text_column, column]).to_batches(ROWS_AT_A_TIME)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} cannot be read: {one_line(error)}.") from None


def _check_columns(file: Path, schema: pa.Schema, text_column: str, column: str) -> None:
    for name in (text_column, column):
        if name not in schema.names:
            raise UserError(
                f"{file} has no column {name!r}; its columns are {', '.join(schema.names)} "
                "(vectors:PATH#COLUMN names the column of the vectors)."
            )
    text, vector = schema.field(text_column).type, schema.field(column).type
    if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
        raise UserError(f"{file}: the column {text_column!r} holds {text} instead of text.")
    is_list = pa.types.is_list(vector) or pa.types.is_large_list(vector) or pa.types.is_fixed_size_list(vector)
    if not (is_list and (pa.types.is_floating(vector.value_type) or pa.types.is_integer(vector.value_type))):
        raise UserError(f"{file}: the column {column!r} holds {vector} instead of lists of numbers.")


def _read_npy(path: Path) -> Iterator[VectorRows]:
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind not in "fiu":
        raise UserError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape} instead of numbers of shape (lines, dimension)."
        )
    text_file = path.with_suffix(".txt")
    try:
        with text_file.open(encoding="utf-8", newline="\n") as lines:
            count = sum(1 for _ in lines)
            if count != len(vectors):
                raise UserError(
                    f"{text_file} has {count:,} lines and {path} {len(vectors):,} rows; line i must hold row i's text."
                )
            lines.seek(0)
            for first in range(0, count, ROWS_AT_A_TIME):
                texts = list(itertools.islice(lines, ROWS_AT_A_TIME))
                yield path, first, texts, vectors[first : first + ROWS_AT_A_TIME]
    except FileNotFoundError:
        raise UserError(
            f"There is no {text_file}; it must hold the texts of the rows of {path}, one per line."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{text_file} is not UTF-8 text (byte {error.start}); convert it first.") from None
