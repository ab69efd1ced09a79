"""Late chunking pools the token vectors of each part of a document."""

import re

import numpy as np
import pytest

from asterisk.models.chunks import encode_chunks
from modeling_asterisk import AsteriskModel
from tests.support.golden import RELEASE

DOCUMENT = "The river froze in January. Nobody could cross it by boat. " * 40


@pytest.fixture(scope="module")
def model() -> AsteriskModel:
    return AsteriskModel.from_pretrained(RELEASE)


def test_parts_are_means_of_their_token_vectors(model: AsteriskModel) -> None:
    vectors, offsets = model.encode_tokens(DOCUMENT)
    cut = DOCUMENT.index(" Nobody")
    first, whole, nothing = encode_chunks(model, DOCUMENT, [(0, cut), (0, len(DOCUMENT)), (3, 4)])
    for chunk, own in ((first, vectors[offsets[:, 1] <= cut]), (whole, vectors)):
        mean = own.mean(axis=0)
        np.testing.assert_allclose(chunk, mean / np.linalg.norm(mean), atol=1e-6)
    assert not nothing.any()
    # A part is embedded in its context: alone it has another vector.
    assert first @ model.encode(DOCUMENT[:cut]) < 0.99


@pytest.mark.parametrize("span", [(0, 9_999), (5, 5), (-1, 3)])
def test_span_that_is_empty_or_outside_the_document_is_refused(model: AsteriskModel, span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{span} is empty or lies outside the document")):
        encode_chunks(model, DOCUMENT, [span])
