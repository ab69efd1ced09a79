"""Encoders behind MTEB's interface."""

import mteb
import numpy as np
import pytest

from asterisk.evaluation.mteb_runner import MtebEncoder
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER


def test_each_text_of_a_task_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(TEACHER)
    embedded: list[list[str]] = []
    embed = encoder.encode

    def encode(texts: list[str], **options: object) -> np.ndarray:
        embedded.append(texts)
        return embed(texts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "encode", encode)
    model = MtebEncoder(encoder)
    calls = [["a cat", "a dog", "a cat"], ["a bird", "a dog"], []]
    metadata = mteb.get_task("STS12").metadata
    for texts in calls:
        vectors = model.encode([{"text": texts}], task_metadata=metadata)
        np.testing.assert_allclose(vectors, embed(texts), atol=1e-6)
    assert embedded == [["a cat", "a dog"], ["a bird"], []]
    model.encode([{"text": ["a dog"]}], task_metadata=mteb.get_task("STS13").metadata)
    assert embedded[-1] == ["a dog"]
