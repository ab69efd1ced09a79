"""Every ONNX file of a published folder gives the model's vectors, without torch or transformers."""

from pathlib import Path

import numpy as np
import pytest

from asterisk.models.onnx import OnnxEmbedder, onnx_file
from modeling_asterisk import AsteriskModel
from tests.support.published import BACKBONE_TEXTS


@pytest.mark.parametrize(
    ("form", "least_cosine"),
    [("model", 0.999999), ("model_fp16", 0.999), ("model_quantized", 0.99), ("model_int8.onnx", 0.99)],
)
def test_each_form_gives_the_models_vectors(
    published: Path, sentences: list[str], form: str, least_cosine: float
) -> None:
    texts = [*BACKBONE_TEXTS, *sentences[:20]]
    embedder = OnnxEmbedder(onnx_file(published, form), threads=1)
    vectors = embedder.embed(embedder.token_ids(texts))
    expected = AsteriskModel.from_pretrained(published).encode(texts)
    assert vectors.shape == (len(texts), embedder.dimensions) == expected.shape
    assert (vectors * expected).sum(axis=1).min() > least_cosine
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
