"""Functions that take arbitrary bytes, one per reader of outside input. Each returns an answer or a documented error.

tests/invariants/test_fuzz.py tries values of many kinds on these targets, benchmarks/fuzz.py coverage-guided bytes.
"""

import bz2
import gzip
import itertools
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import HTTPException, Request
from transformers import pipeline

from asterisk.core.arguments import parse_arguments
from asterisk.core.checksums import file_hash
from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.core.run_folder import RUN_FILE, check_run_folder
from asterisk.data.labelled_tables import read_labelled_texts
from asterisk.data.labels import check_training, class_names, label_array
from asterisk.data.readers import read_texts
from asterisk.distillation.arguments import DistillationArguments
from asterisk.heads.arguments import HeadArguments
from asterisk.publishing.handler import EndpointHandler
from asterisk.serving.arguments import Settings
from asterisk.serving.requests import read_request
from asterisk.serving.service import error_response
from asterisk.teachers.shards import shard_name, write_shard
from asterisk.teachers.store import EmbeddingStore
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel
from tests.support.labelled import write_tiny_asterisk

WIDTH = 16
# Separates the texts where the bytes hold several.
BETWEEN_TEXTS = "\x1e"

NUMBERS = itertools.count()


@contextmanager
def file_of(folder: Path, suffix: str, content: bytes) -> Iterator[Path]:
    """Write a file with a new name, because readers may cache by name."""
    path = folder / f"{next(NUMBERS)}{suffix}"
    path.write_bytes(content)
    yield path
    path.unlink()


def answers(name: str, read: Callable[[], object]) -> bool:
    """Return whether there is an answer; False for a refusal that names the file. Other exceptions propagate."""
    try:
        read()
    except UserError as error:
        if name not in str(error):
            raise
        return False
    return True


def check_vectors(model: AsteriskModel, texts: Sequence[str], size: int = 3) -> None:
    """Vectors have unit length, or are zero for a text without tokens, whatever the other texts of the batch are."""
    vectors = model.encode(texts, batch_size=size)
    assert vectors.shape == (len(texts), WIDTH)
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    assert model.tokenizer is not None
    has_tokens = [bool(ids) for ids in model._tokenize(list(texts), model.tokenizer)]
    np.testing.assert_allclose(lengths, has_tokens, atol=1e-5)
    turned = model.encode(texts[::-1], batch_size=len(texts) + 1)[::-1]
    np.testing.assert_allclose(vectors, turned, atol=1e-5)
    if len(texts) > 1:
        np.testing.assert_allclose(model.encode(texts[0]), vectors[0], atol=1e-5)


def check_texts(path: Path) -> bool:
    """A file of texts is read as strings that can be stored."""

    def read() -> None:
        for text in read_texts(str(path), "text"):
            text.encode()

    return answers(path.name, read)


def check_labelled(path: Path) -> bool:
    """A table is read as training data of a head."""

    def read() -> None:
        found = read_labelled_texts(str(path))
        assert len(found.texts) == len(found.labels) > 0
        assert all(isinstance(text, str) for text in found.texts)
        names = class_names(found)
        assert np.isfinite(label_array(found, names)).all()
        check_training(found)

    return answers(path.name, read)


def check_recipe(path: Path, kind: type) -> bool:
    """A recipe is read as fields of the dataclass."""

    def read() -> None:
        assert isinstance(parse_arguments(kind, "", ["--config", str(path)]), kind)

    return answers(path.name, read)


def check_request(handler: EndpointHandler, request: Any) -> bool:
    """An endpoint answers a request with numbers, or raises ValueError."""
    try:
        answer = handler(request)
    except ValueError:
        return False
    # All numbers are finite.
    assert json.dumps(answer, allow_nan=False)
    return True


def check_body(settings: Settings, body: bytes) -> bool:
    """The body of an HTTP request is read as texts, or answered with status 4xx and a sentence."""
    try:
        asked = read_request(body, settings)
    except HTTPException as error:
        refusal = error
    else:
        assert 0 < len(asked.input) <= settings.max_texts
        assert all(isinstance(text, str) and text.encode() for text in asked.input)
        assert asked.dimensions is None or 0 < asked.dimensions <= settings.dimensions
        return True
    assert 400 <= refusal.status_code < 500
    with pytest.raises(StopIteration) as answer:  # the coroutine never suspends
        error_response(Request({"type": "http"}), refusal).send(None)  # type: ignore[attr-defined]
    assert json.loads(answer.value.value.body)["error"]["message"]
    return False


class Targets:
    """The targets, which return whether the bytes were answered, and starting bytes that each one answers."""

    def __init__(self, folder: Path):
        """Work in an existing empty folder."""
        self.folder = folder

    @cached_property
    def model(self) -> AsteriskModel:
        """A tiny model."""
        return AsteriskModel.from_pretrained(write_tiny_asterisk(self.folder / "model")).eval()

    @cached_property
    def handler(self) -> EndpointHandler:
        """An endpoint of the tiny model."""
        handler = EndpointHandler.__new__(EndpointHandler)
        handler.is_classifier, handler.model = False, self.model
        return handler

    @cached_property
    def classifier(self) -> EndpointHandler:
        """An endpoint of a tiny classifier."""
        config = AsteriskConfig.from_pretrained(str(self.model.name_or_path), num_labels=3)
        handler, tokenizer = EndpointHandler.__new__(EndpointHandler), self.model.tokenizer
        head = AsteriskForSequenceClassification(config).eval()
        handler.is_classifier, handler.classify = True, pipeline("text-classification", head, tokenizer=tokenizer)
        return handler

    @cached_property
    def settings(self) -> Settings:
        """The limits of the service."""
        limits: dict[str, Any] = {"max_body_bytes": 1 << 20, "max_texts": 8, "max_waiting": 8}
        return Settings(file="file", name="name", dimensions=WIDTH, **limits)

    @cached_property
    def store(self) -> dict[str, Any]:
        """The manifest of a store, whose shard lies in `folder`/store."""
        folder = self.folder / "store"
        folder.mkdir()
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4, np.float16)), 2)
        table = pa.table({"text": pa.array(["soup", "goal"], pa.large_string()), "embedding": vectors})
        write_shard(folder / shard_name(0), table)
        shard = {"file": shard_name(0), "rows": 2, "sha256": file_hash(folder / shard_name(0))}
        return {"version": 1, "settings": {"dimension": 2}, "truncated": 0, "shards": [shard]}

    def encode(self, content: bytes) -> bool:
        """Texts for `AsteriskModel.encode`. Two bytes are one UTF-16 unit, so lone surrogates occur."""
        text = content[: len(content) // 2 * 2].decode("utf-16-le", "surrogatepass")
        check_vectors(self.model, text.split(BETWEEN_TEXTS)[:6])
        return True

    def lines(self, content: bytes) -> bool:
        """Corpora of lines, and JSON."""
        with self._file(content, LINES) as path:
            return check_texts(path)

    def tables(self, content: bytes) -> bool:
        """Corpora in tables."""
        with self._file(content, TABLES) as path:
            return check_texts(path)

    def labelled(self, content: bytes) -> bool:
        """Tables of labelled texts."""
        with self._file(content, LABELLED) as path:
            return check_labelled(path)

    def manifest(self, content: bytes) -> bool:
        """The manifest of a store, and the record of a run."""
        assert self.store
        if content[:1] in (b"", b"\0"):
            (self.folder / "store" / MANIFEST).write_bytes(content[1:])
            return answers("store", lambda: EmbeddingStore(self.folder / "store").check_shards())
        (self.folder / "run").mkdir(exist_ok=True)
        (self.folder / "run" / RUN_FILE).write_bytes(content[1:])
        return answers("run", lambda: check_run_folder(self.folder / "run", {"seed": 0}, resume=True))

    def recipe(self, content: bytes) -> bool:
        """Recipes, of both kinds of training."""
        kind = HeadArguments if content[:1] == b"\1" else DistillationArguments
        with file_of(self.folder, ".yaml", content[1:]) as path:
            return check_recipe(path, kind)

    def request(self, content: bytes) -> bool:
        """JSON requests to the endpoints of an embedding model and a classifier."""
        try:
            request = json.loads(content[1:])
        except (ValueError, RecursionError):
            return False
        return check_request(self.classifier if content[:1] == b"\1" else self.handler, request)

    def body(self, content: bytes) -> bool:
        """Bodies of requests to the HTTP service."""
        return check_body(self.settings, content)

    def seeds(self, name: str) -> list[bytes]:
        """Starting bytes, which the target answers."""
        if name == "manifest":
            return [b"\0" + json.dumps(self.store).encode(), b"\1" + json.dumps({"recipe": {"seed": 0}}).encode()]
        return SEEDS[name]

    def _file(self, content: bytes, suffixes: Sequence[str]) -> Any:
        """Write a file whose suffix the first byte chooses."""
        number = content[0] if content else 0
        return file_of(self.folder, suffixes[number % len(suffixes)], content[1:])


LINES = (".txt", ".jsonl", ".txt.gz", ".jsonl.xz", ".jsonl.bz2", ".txt.zst", ".json", ".json.gz")
TABLES = (".csv", ".tsv", ".parquet", ".csv.gz")
LABELLED = (".jsonl", ".csv", ".tsv", ".jsonl.gz")


def _parquet(**columns: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _as(suffixes: Sequence[str], suffix: str, *contents: bytes) -> list[bytes]:
    return [bytes([suffixes.index(suffix)]) + content for content in contents]


_TEXT = "soup, salt\nder Kloß\n\n目標 🥅\n".encode()
_CSV = b'text,label,n\n"soup, ""salt""",food,1\ngoal,sport,2.5\nball,sport,3\n'
_ROWS = [{"text": "soup é", "label": "food"}, {"text": "goal", "label": "sport", "n": [1, None, True, 2.5]}]
_JSONL = "\n".join(map(json.dumps, _ROWS)).encode()
_MORE = [
    b'{"text": "soup", "labels": ["a", "b"]}\n{"text": "goal", "labels": []}',
    b'{"text": "soup", "score": 1.5}\n{"text": "goal", "score": 2}',
]
_REQUESTS = [
    {"inputs": "soup salt"},
    {"inputs": ["goal", "", "é"], "parameters": {"normalize": False, "truncate_dim": 4}},
]
_CLASSIFICATIONS = [
    {"inputs": "soup salt", "parameters": {"function_to_apply": "sigmoid"}},
    {"inputs": ["goal", "", "é"], "parameters": {"top_k": 2}},
]
_BODIES = [
    {"input": "soup", "model": "any"},
    {"input": ["goal", "é"], "model": "any", "dimensions": 4, "encoding_format": "float", "user": "me"},
    {"input": ["goal"], "encoding_format": "base64"},
]

SEEDS: dict[str, list[bytes]] = {
    "encode": [
        BETWEEN_TEXTS.join(texts).encode("utf-16-le", "surrogatepass")
        for texts in (
            ["soup salt", "", "goal team with a ball", " "],
            ["\u202egoal\u202c", "so\u200bup", "\ufeffsalt", "e\u0301" * 9],
            ["\ud83e\udd45", "👩‍👩‍👧", "\udc00", "שלום مرحبا", "\x00"],
            ["soup " * 40, "a"],
        )
    ],
    "lines": [
        *_as(LINES, ".txt", _TEXT, b"\xef\xbb\xbfsoup\r\ngoal"),
        *_as(LINES, ".jsonl", _JSONL),
        *_as(LINES, ".txt.gz", gzip.compress(_TEXT, mtime=0)),
        *_as(LINES, ".jsonl.xz", lzma.compress(_JSONL)),
        *_as(LINES, ".jsonl.bz2", bz2.compress(_JSONL)),
        *_as(LINES, ".txt.zst", pa.compress(_TEXT, "zstd", asbytes=True)),
        *_as(LINES, ".json", _JSONL, json.dumps(_ROWS).encode()),
        *_as(LINES, ".json.gz", gzip.compress(json.dumps(_ROWS).encode(), mtime=0)),
    ],
    "tables": [
        *_as(TABLES, ".csv", _CSV),
        *_as(TABLES, ".tsv", _CSV.replace(b",", b"\t")),
        *_as(TABLES, ".parquet", _parquet(text=["soup", "goal"]), _parquet(text=["a"], label=[["b"]], n=[1.5])),
        *_as(TABLES, ".csv.gz", gzip.compress(_CSV, mtime=0)),
    ],
    "labelled": [
        *_as(LABELLED, ".jsonl", _JSONL, *_MORE),
        *_as(LABELLED, ".csv", _CSV, b"text,score\nsoup,1.5\ngoal,-2e3\n", b"text,label\nsoup,007\ngoal,7\n"),
        *_as(LABELLED, ".tsv", _CSV.replace(b",", b"\t")),
        *_as(LABELLED, ".jsonl.gz", gzip.compress(_MORE[0], mtime=0)),
    ],
    "recipe": [
        b"\0teacher: package:x\ncorpus: [a, b]\nlearning_rate: 2e-3\nhidden_size: 64\nresume: true\n",
        b"\0temperature: .5\nsts_test: [A=b]\nencoder: null\n",
        b"\1mode: lora\nsamples_per_label: 8\nseed: 3\nlearning_rate: 1e-3\n",
    ],
    "request": [
        *(b"\0" + json.dumps(request).encode() for request in _REQUESTS),
        *(b"\1" + json.dumps(request).encode() for request in _CLASSIFICATIONS),
    ],
    "body": [json.dumps(body).encode() for body in _BODIES],
}
