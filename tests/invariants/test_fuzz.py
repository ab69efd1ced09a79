"""Whatever is given, there is an answer or a sentence: no crash, no other exception, no vector that is not finite.

`make test` tries some of each; `make soak` (HYPOTHESIS_PROFILE=soak) thousands, of forms that chance alone would not
give. A million that coverage led to are benchmarks/fuzz.py's; what both look at lies in fuzz_targets.py.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asterisk.core.errors import UserError
from asterisk.core.files import MANIFEST
from asterisk.distillation.arguments import DistillationArguments
from asterisk.heads.arguments import HeadArguments
from asterisk.teachers.store import EmbeddingStore
from tests.support.fuzz_targets import (
    SEEDS,
    Targets,
    check_labelled,
    check_recipe,
    check_request,
    check_texts,
    check_vectors,
    file_of,
)

LENIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("test", max_examples=12, deadline=None, suppress_health_check=LENIENT, derandomize=True)
settings.register_profile("soak", max_examples=2_000, deadline=None, suppress_health_check=LENIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

# Lone surrogates too, as Python's strings can hold them.
TEXT = st.text(st.characters(exclude_categories=()))
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Targets:
    return Targets(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", [*SEEDS, "manifest"])
def test_what_fuzzing_begins_with_is_answered(targets: Targets, name: str) -> None:
    attempt = getattr(targets, name)
    assert all(attempt(seed) for seed in targets.seeds(name))


@given(texts=st.lists(TEXT | st.sampled_from(["soup salt", "goal team", ""]), max_size=8), size=st.integers(1, 4))
def test_any_text_has_a_vector_that_its_neighbours_do_not_change(
    targets: Targets, texts: list[str], size: int
) -> None:
    check_vectors(targets.model, texts, size)


@pytest.mark.slow
def test_a_text_of_a_megabyte_and_texts_without_number_have_vectors(targets: Targets) -> None:
    endless, cut = targets.model.encode(["soup" * 250_000, "soup " * 200_000])
    np.testing.assert_allclose([np.linalg.norm(endless), np.linalg.norm(cut)], 1, atol=1e-5)
    np.testing.assert_allclose(cut, targets.model.encode("soup " * 16), atol=1e-5)
    assert not targets.model.encode([""] * 100_000).any()


@given(content=st.binary() | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")), data=st.data())
def test_any_bytes_are_a_corpus_or_refused_in_a_sentence(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt.gz", ".txt.zst"]))
    with file_of(tmp_path, suffix, content) as path:
        check_texts(path)
        if not suffix.startswith(".txt"):
            check_labelled(path)


@given(rows=st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), JSON), max_size=4))
def test_any_rows_are_labelled_texts_or_refused_in_a_sentence(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with file_of(tmp_path, ".jsonl", "\n".join(json.dumps(row) for row in rows).encode()) as path:
        check_labelled(path)


@pytest.mark.parametrize("kind", [DistillationArguments, HeadArguments])
@given(data=st.data())
def test_any_yaml_is_a_recipe_or_refused_in_a_sentence(tmp_path: Path, kind: type, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(kind.__dataclass_fields__)) | TEXT  # type: ignore[attr-defined]
    content = data.draw(
        st.dictionaries(names, JSON, max_size=3).map(lambda recipe: yaml.safe_dump(recipe).encode()) | st.binary()
    )
    with file_of(tmp_path, ".yaml", content) as path:
        check_recipe(path, kind)


@given(content=JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_any_manifest_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=MANIFEST):
        EmbeddingStore(tmp_path)


@given(request=JSON | st.fixed_dictionaries({"inputs": JSON, "parameters": JSON}))
def test_any_request_is_answered_or_refused_in_a_sentence(targets: Targets, request: Any) -> None:
    check_request(targets.handler, request)


@given(body=JSON | st.fixed_dictionaries({"input": JSON, "dimensions": JSON, "encoding_format": JSON}))
def test_any_body_is_a_request_of_the_service_or_refused_in_a_sentence(targets: Targets, body: Any) -> None:
    targets.body(json.dumps(body).encode())
