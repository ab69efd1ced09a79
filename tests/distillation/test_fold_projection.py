"""The final projection can be folded into the norm, up to a rotation and a small loss."""

import numpy as np
import torch

from asterisk.distillation.fold_projection import fold_projection
from asterisk.models.checkpoints import load_asterisk
from modeling_asterisk import AsteriskModel
from tests.support.paths import REPOSITORY


def test_folded_release_keeps_its_similarities_and_orders_its_dimensions(sentences: list[str]) -> None:
    folder = REPOSITORY / "release" / "asterisk"
    model, _ = load_asterisk(folder, folder, AsteriskModel)
    before = model.encode(sentences[:2000])
    folded = fold_projection(model, before)
    after = folded.encode(sentences[:2000])
    assert folded.config.projection_dim is None
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    pairs = [(vectors[:1000] @ vectors[1000:].T).ravel() for vectors in (before, after)]
    assert np.corrcoef(*pairs)[0, 1] > 0.8
    # The first quarter of the dimensions holds more than half of the squared length.
    assert (after[:, :64] ** 2).sum(axis=1).mean() > 0.5
    assert torch.equal(folded.state_dict()["layers.0.attention_norm.weight"], torch.ones(256))
