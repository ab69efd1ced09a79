"""A frozen sentence encoder of any kind: texts in, unit vectors out, and a fingerprint that says which one it was."""

import hashlib
import importlib.util
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedTokenizerBase

from asterisk.cli import UserError

# Tokens of one forward pass, padding included: enough to keep a processor busy, few enough to stay in its caches.
TOKEN_BUDGET = 2_048
GPU_TOKEN_BUDGET = 16_384

# Rows of precomputed vectors that are checked and copied at a time.
ROWS_AT_A_TIME = 4_096

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
            from asterisk.embeddings_api import EmbeddingsAPITeacher
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
        from sentence_transformers import SentenceTransformer

        self.name = name
        location = resolve_model(name)
        folder = Path(location)
        if folder.is_dir():
            _check_folder(folder)
        precision = resolve_dtype(dtype)
        self.precision = str(precision).removeprefix("torch.")
        try:
            if folder.is_dir() and not (folder / "modules.json").exists():
                from sentence_transformers.models import Normalize, Pooling, Transformer

                transformer = Transformer(location, model_kwargs={"dtype": precision})
                modules = [transformer, Pooling(transformer.get_word_embedding_dimension(), pooling), Normalize()]
                self.model = SentenceTransformer(modules=modules, device=device)
            else:
                self.model = SentenceTransformer(location, model_kwargs={"dtype": precision}, device=device)
        except Exception as error:  # whatever loading a stranger's model raises, the user wants one sentence
            raise UserError(f"The teacher {name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        self.model.eval()
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
        budget = TOKEN_BUDGET if self.model.device.type == "cpu" else GPU_TOKEN_BUDGET
        vectors = np.empty((len(token_ids), self.dimension), dtype=np.float32)
        by_length = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]), reverse=True)
        start = 0
        while start < len(by_length):
            longest = max(1, len(token_ids[by_length[start]]))
            rows = by_length[start : start + max(1, budget // longest)]
            input_ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id or 0)
            for index, row in enumerate(rows):
                input_ids[index, : len(token_ids[row])] = torch.tensor(token_ids[row])
            lengths = torch.tensor([len(token_ids[row]) for row in rows])
            attention_mask = (torch.arange(longest) < lengths[:, None]).long()
            vectors[rows] = self._forward({"input_ids": input_ids, "attention_mask": attention_mask})
            start += len(rows)
        return vectors

    def _forward(self, features: dict[str, torch.Tensor]) -> np.ndarray:
        features = {name: tensor.to(self.model.device) for name, tensor in features.items()}
        output = self.model(features)["sentence_embedding"].float()
        return torch.nn.functional.normalize(output, dim=-1).cpu().numpy()


class PrecomputedTeacher:
    """Vectors that were computed elsewhere, looked up by their text; white space around a text does not count.

    Of a text that occurs more than once, the first vector is used. Vectors are copied to an unnamed temporary file and
    mapped, so that memory holds 16 bytes a text.
    """

    max_length = None
    tokenizer = None

    def __init__(self, path: str, column: str = "embedding", text_column: str = "text"):
        """Reads and checks all vectors.

        Args:
            path: A Parquet or Arrow file with a column of texts and one of vectors, or a folder of such files, as an
                [`EmbeddingStore`] is one; or a .npy file of shape (lines, dimension) beside a UTF-8 file of the same
                name but .txt, whose lines the rows belong to.
            column: The column of the vectors: lists of numbers, all of one length.
            text_column: The column of the texts.

        Raises:
            UserError: There is no such file or column, or not as many texts as vectors; or a vector is missing, of
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
            every_key = np.concatenate(keys)
            self._vectors = np.memmap(file, kept, mode="r", shape=(len(every_key), self.dimension))
        # Stable, so that the first of equal texts is found.
        self._rows = np.argsort(every_key, kind="stable")
        self._keys = every_key[self._rows]
        self.fingerprint = digest.hexdigest()

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """See [`Teacher`]. No text is truncated.

        Raises:
            UserError: A text has no vector.
        """
        keys = _text_keys(texts)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        missing = np.flatnonzero(self._keys[places] != keys)
        if len(missing):
            raise UserError(
                f"The teacher {self.name} has no vector for {len(missing):,} of {len(texts):,} texts, such as "
                f"{texts[missing[0]][:80]!r}; embed those too, or leave them out of the corpus."
            )
        vectors = self._vectors[self._rows[places]].astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        """Raises a [`UserError`]: vectors have no tokenizer."""
        raise UserError(f"The teacher {self.name} has no tokenizer.")


def _text_keys(texts: list[str]) -> np.ndarray:
    """Eight bytes for each text, as uint64: equal for texts equal but for white space around them."""
    digests = (hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8) for text in texts)
    return np.frombuffer(b"".join(digest.digest() for digest in digests), dtype=np.uint64)


def _norms(where: Path, first: int, vectors: np.ndarray, dimension: int) -> np.ndarray:
    """The lengths of the vectors that begin at row `first` of a file: (number of vectors, 1), float64."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    for problem, wrong in (
        (f"has {vectors.shape[1]} dimensions instead of {dimension}", np.array([vectors.shape[1] != dimension])),
        ("is not finite", ~np.isfinite(norms)),
        ("is zero", norms == 0),
    ):
        if wrong.any():
            raise UserError(
                f"{where}: the vector of row {first + wrong.argmax()} {problem}; mend or leave out the row."
            )
    return norms


# File, number of the first row in it, texts, and their vectors (number of texts, dimension).
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
                    raise UserError(f"{file}: row {first + wrong.argmax()} {problem}; mend it or leave it out.")
            vectors = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), width)
            yield file, first, texts.to_pylist(), vectors
            first += len(batch)


def _read_table(file: Path, text_column: str, column: str) -> Iterator[pa.RecordBatch]:
    """The two columns of a Parquet or Arrow file, piece by piece."""
    try:
        if file.suffix == ".parquet":
            parquet = pq.ParquetFile(file, memory_map=True)
            _check_columns(file, parquet.schema_arrow, text_column, column)
            yield from parquet.iter_batches(ROWS_AT_A_TIME, columns=[text_column, column])
            return
        source = pa.memory_map(str(file))
        try:
            table = pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:  # what `datasets` saves
            table = pa.ipc.open_stream(source).read_all()
        _check_columns(file, table.schema, text_column, column)
        yield from table.select([text_column, column]).to_batches(ROWS_AT_A_TIME)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}.") from None


def _check_columns(file: Path, schema: pa.Schema, text_column: str, column: str) -> None:
    for name in (text_column, column):
        if name not in schema.names:
            raise UserError(
                f"{file} has no column {name!r}; its columns are {', '.join(schema.names)} "
                "(vectors:PATH#COLUMN names the vectors')."
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
                    f"{text_file} has {count:,} lines and {path} {len(vectors):,} rows; row i has to belong to line i."
                )
            lines.seek(0)
            for first in range(0, count, ROWS_AT_A_TIME):
                texts = list(itertools.islice(lines, ROWS_AT_A_TIME))
                yield path, first, texts, vectors[first : first + ROWS_AT_A_TIME]
    except FileNotFoundError:
        raise UserError(f"There is no {text_file}, whose lines the rows of {path} would belong to.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{text_file} is not UTF-8 text (byte {error.start}); convert it first.") from None


def resolve_model(name: str) -> str:
    """The folder or Hub id that a model's name stands for.

    Raises:
        UserError: The name is a path at which there is nothing, or of a package that is not installed.
    """
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"The teacher's package {package} is not installed; pip install '.[demo]' installs the demo's."
            )
        return str(Path(spec.submodule_search_locations[0]) / "model")
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise UserError(f"There is no model folder {name}; give a folder, a Hub id (owner/name) or package:NAME.")
        return str(folder)
    return name


def resolve_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a name; "auto" is bfloat16 where the processor computes in it, else float32."""
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16() else torch.float32
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"The precision must be auto, float32 or bfloat16, not {dtype!r}.")
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def computes_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware; elsewhere they are slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a model's weights, wherever and however they are stored."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise UserError(f"The teacher folder {folder} has neither config.json nor modules.json; give a model folder.")
    if not [file for pattern in ("*.safetensors", "*.bin") for file in folder.rglob(pattern)]:
        raise UserError(f"The teacher folder {folder} holds no weights; it should hold a model.safetensors.")
