"""Whatever is given, there is an answer or a sentence: no crash, no other exception, no vector that is not finite.

`make test` tries some of each; `make soak` (HYPOTHESIS_PROFILE=soak) hundreds of thousands.
"""

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled import write_tiny_asterisk

from asterisk.cli import UserError, read_recipe
from asterisk.head_arguments import HeadArguments
from asterisk.labelled_data import read_labelled_texts
from asterisk.manifest import MANIFEST
from asterisk.publishing.handler import EndpointHandler
from asterisk.reading import read_texts
from asterisk.store import EmbeddingStore
from modeling_asterisk import AsteriskModel
from train_distill import DistillationArguments

LENIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("test", max_examples=12, deadline=None, suppress_health_check=LENIENT, derandomize=True)
settings.register_profile("soak", max_examples=200_000, deadline=None, suppress_health_check=LENIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

# Lone surrogates too, as Python's strings can hold them.
TEXT = st.text(st.characters(exclude_categories=()))
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AsteriskModel:
    return AsteriskModel.from_pretrained(write_tiny_asterisk(tmp_path_factory.mktemp("fuzz") / "model")).eval()


def file_of(folder: Path, suffix: str, content: bytes) -> Path:
    """A file of a name that no other had: what is read may be kept by name."""
    path = folder / f"{next(NUMBERS)}{suffix}"
    path.write_bytes(content)
    return path


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Lets a refusal pass that names the file, and nothing else."""
    try:
        yield
    except UserError as error:
        if name not in str(error):
            raise


@given(texts=st.lists(TEXT | st.sampled_from(["soup salt", "goal team", ""]), max_size=8), size=st.integers(1, 4))
def test_any_text_has_a_vector_that_its_neighbours_do_not_change(
    model: AsteriskModel, texts: list[str], size: int
) -> None:
    vectors = model.encode(texts, batch_size=size)
    assert vectors.shape == (len(texts), 16)
    assert np.isfinite(vectors).all()
    turned = model.encode(texts[::-1], batch_size=8)[::-1]
    np.testing.assert_allclose(vectors, turned, atol=1e-5)


@given(content=st.binary() | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")), data=st.data())
def test_any_bytes_are_a_corpus_or_refused_in_a_sentence(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt.gz", ".txt.zst"]))
    path = file_of(tmp_path, suffix, content)
    with refusals(path.name):
        assert all(isinstance(text, str) for text in read_texts(str(path), "text"))
    if not suffix.startswith(".txt"):
        with refusals(path.name):
            read_labelled_texts(str(path))
    path.unlink()


@given(rows=st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), JSON), max_size=4))
def test_any_rows_are_labelled_texts_or_refused_in_a_sentence(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = file_of(tmp_path, ".jsonl", "\n".join(json.dumps(row) for row in rows).encode())
    with refusals(path.name):
        found = read_labelled_texts(str(path))
        assert len(found.texts) == len(found.labels) > 0
    path.unlink()


@pytest.mark.parametrize("kind", [DistillationArguments, HeadArguments])
@given(data=st.data())
def test_any_yaml_is_a_recipe_or_refused_in_a_sentence(tmp_path: Path, kind: type, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(kind.__dataclass_fields__)) | TEXT  # type: ignore[attr-defined]
    content = data.draw(
        st.dictionaries(names, JSON, max_size=3).map(lambda recipe: yaml.safe_dump(recipe).encode()) | st.binary()
    )
    path = file_of(tmp_path, ".yaml", content)
    with refusals(path.name):
        assert isinstance(read_recipe(path, kind), dict)
    path.unlink()


@given(content=JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_any_manifest_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=MANIFEST):
        EmbeddingStore(tmp_path)


@given(request=JSON | st.fixed_dictionaries({"inputs": JSON, "parameters": JSON}))
def test_any_request_is_answered_or_refused_in_a_sentence(model: AsteriskModel, request: Any) -> None:
    handler = EndpointHandler.__new__(EndpointHandler)
    handler.is_classifier, handler.model = False, model
    try:
        answer = handler(request)
    except ValueError:
        return
    # Nor is a number in it not finite.
    assert json.dumps(answer, allow_nan=False)
