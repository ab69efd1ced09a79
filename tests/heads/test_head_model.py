"""Loading a model with a head for given classes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asterisk.core.errors import UserError
from asterisk.data.labels import MULTI, SINGLE
from asterisk.data.splits import HeadData
from asterisk.heads.head_model import load_classifier, shift_outputs
from asterisk.models.checkpoints import save_student
from tests.support.heads import NAMES, topics, train


@pytest.mark.slow
def test_stored_head_for_the_same_classes_is_kept_with_their_order(model: Path, tmp_path: Path) -> None:
    classifier, tokenizer, _ = load_classifier(str(model), ["sport", "food"], SINGLE)
    save_student(classifier, tokenizer, tmp_path / "before")
    further, _, is_own = load_classifier(str(tmp_path / "before"), NAMES, SINGLE)
    assert is_own
    assert further.config.id2label == {0: "sport", 1: "food"}
    assert torch.equal(further.classifier.dense.weight, classifier.classifier.dense.weight)
    for names, problem_type in ((["food", "music"], SINGLE), (["a", "b", "c"], SINGLE), (NAMES, MULTI)):
        other: Any
        other, _, is_own = load_classifier(str(tmp_path / "before"), names, problem_type)
        assert not is_own
        assert list(other.config.id2label.values()) == names
        assert not torch.equal(other.classifier.dense.weight, classifier.classifier.dense.weight)
    data = HeadData(topics(96), topics(32, seed=1), topics(32, seed=2), NAMES)
    trained, (repeat,) = train(tmp_path / "before", tmp_path / "run", data, mode="full", num_epochs=20)
    assert trained.config.id2label == {0: "sport", 1: "food"}
    assert ((repeat.test or {})["accuracy"] or 0) > 80


def test_outputs_are_shifted_exactly(model: Path) -> None:
    head = load_classifier(str(model), NAMES, SINGLE)[0].classifier.eval()
    vectors = torch.randn(3, 16)
    with torch.no_grad():
        before = head(vectors)
        shift_outputs(head, 7.0, 3.0)
        torch.testing.assert_close(head(vectors), 3 * before + 7)


def test_wrong_models_are_refused_in_a_sentence(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((model / "config.json").read_text())
    for name, message in (
        ("bert", "is not an Asterisk, but a model of type 'bert'"),
        ("empty", "has no config.json"),
        ("bare", "cannot be loaded"),
        ("nowhere", "There is no model folder"),
    ):
        with pytest.raises(UserError, match=message):
            load_classifier(str(tmp_path / name), NAMES, SINGLE)
