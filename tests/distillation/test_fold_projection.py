"""The final projection can be folded into the norm, up to a rotation and a small loss."""

import numpy as np
import pytest
import torch

from asterisk.core.errors import UserError
from asterisk.distillation.fold_projection import fold_projection
from asterisk.distillation.projection import in_teacher_space, with_teacher_spaces
from asterisk.models.checkpoints import load_asterisk
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import REPOSITORY


@pytest.fixture
def projected() -> AsteriskModel:
    """The released model with a projection that turns and stretches its embeddings."""
    folder = REPOSITORY / "release" / "asterisk"
    released, _ = load_asterisk(folder, folder, AsteriskModel)
    generator = np.random.default_rng(0)
    first, second = (np.linalg.qr(generator.normal(size=(256, 256)))[0] for _ in range(2))
    matrix = (first * np.linspace(0.8, 1.2, 256) @ second).astype(np.float32)
    return in_teacher_space(with_teacher_spaces(released, matrix, [("stretched", 256)]), "stretched")


def test_folded_model_keeps_its_similarities_and_orders_its_dimensions(
    sentences: list[str], projected: AsteriskModel
) -> None:
    model = projected
    before = model.encode(sentences[:2000])
    folded = fold_projection(model, before)
    after = folded.encode(sentences[:2000])
    assert folded.config.projection_dim is None
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    pairs = [(vectors[:1000] @ vectors[1000:].T).ravel() for vectors in (before, after)]
    assert np.corrcoef(*pairs)[0, 1] > 0.8
    # The first quarter of the dimensions holds more than half of the squared length.
    assert (after[:, :64] ** 2).sum(axis=1).mean() > 0.5
    # Nearly the same vectors in the teacher's space, too.
    space = np.eye(256, dtype=np.float32)
    mapped = with_teacher_spaces(model, space, [("teacher", 256)])
    in_space = [each.encode(sentences[:200], space="teacher") for each in (mapped, fold_projection(mapped, before))]
    assert (in_space[0] * in_space[1]).sum(axis=1).mean() > 0.85
    assert torch.equal(folded.state_dict()["layers.0.attention_norm.weight"], torch.ones(256))


def test_model_with_exits_is_refused() -> None:
    model = AsteriskModel(AsteriskConfig(vocab_size=10, hidden_size=8, projection_dim=8, exit_layers=[1]))
    with pytest.raises(UserError, match=r"only without exits; this model has 8 dimensions and the exits \[1\]"):
        fold_projection(model, np.eye(8, dtype=np.float32))
