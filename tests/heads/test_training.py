"""Heads in all modes: what is trained, what is kept, and how a stopped training resumes."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from asterisk.core.errors import UserError
from asterisk.data.labels import REGRESSION, SINGLE, LabelledTexts
from asterisk.data.splits import HeadData
from asterisk.heads.arguments import MODES, HeadArguments, resolve_arguments
from asterisk.heads.calibration import fit_temperature
from asterisk.heads.fine_tuning import Progress
from asterisk.heads.head_model import load_classifier
from asterisk.heads.training import HeadTraining, best_repeat
from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskModel
from tests.support.heads import NAMES, topics, train


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_trains_only_its_part_of_the_model(mode: str, model: Path, tmp_path: Path) -> None:
    before = AsteriskModel.from_pretrained(model).state_dict()
    after, (repeat,) = train(model, tmp_path, mode=mode, num_epochs=20, learning_rate=0.01)
    assert repeat.test is not None
    # The backbone is untrained, so a head alone reaches less.
    assert (repeat.test["accuracy"] or 0) > (60 if mode == "frozen" else 80)
    changed = {name for name, weight in after.asterisk.state_dict().items() if not torch.equal(weight, before[name])}
    tables = {"embeddings.embed_tokens.weight", "embeddings.embed_positions.weight"}
    matrices = {name for name in before if name.endswith(("_proj.weight", "projection.weight"))}
    assert changed == {"frozen": set(), "lora": matrices, "full": set(before)}[mode]
    assert tables <= set(before)
    # The adapters are merged.
    assert {name.partition(".")[0] for name in after.state_dict()} == {"asterisk", "classifier"}


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.slow
def test_fine_tuning_on_few_texts_starts_from_the_frozen_head(mode: str, model: Path, tmp_path: Path) -> None:
    frozen, _ = train(model, tmp_path / "frozen", num_epochs=MODES["frozen"]["num_epochs"])
    begun, _ = train(model, tmp_path / mode, mode=mode, num_epochs=1, learning_rate=1e-9)
    for name, weight in frozen.classifier.state_dict().items():
        torch.testing.assert_close(begun.classifier.state_dict()[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    alone, _ = train(model, tmp_path / "random", mode=mode, num_epochs=1, learning_rate=1e-9, head_first=48)
    assert not torch.allclose(alone.classifier.out_proj.weight, frozen.classifier.out_proj.weight, atol=1e-2)
    # A stored head is trained further as it is.
    save_student(frozen, load_classifier(str(model), NAMES, SINGLE)[1], tmp_path / "own")
    further, _ = train(tmp_path / "own", tmp_path / "further", mode=mode, num_epochs=1, learning_rate=1e-9)
    for name, weight in frozen.classifier.state_dict().items():
        torch.testing.assert_close(further.classifier.state_dict()[name], weight, msg=name)


def test_weights_with_the_lowest_development_loss_are_kept(model: Path, tmp_path: Path) -> None:
    development = topics(32, seed=1)
    # Random labels: the better training fits, the worse development gets.
    noise = np.random.default_rng(0).choice(NAMES, 96).tolist()
    data = HeadData(topics(96), development, None, NAMES)
    data.train.labels = noise
    kept, (repeat,) = train(model, tmp_path, data, mode="full", num_epochs=30, learning_rate=0.01, patience=4)
    best = int(np.argmin(repeat.losses))
    assert len(repeat.losses) == min(30, best + 1 + 4)
    assert repeat.losses[-1] > repeat.losses[best]
    _, tokenizer, is_own = load_classifier(str(model), NAMES, SINGLE)
    assert not is_own
    encoded = tokenizer(development.texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        logits = kept.eval()(**encoded).logits
    labels = torch.tensor([NAMES.index(label) for label in development.labels])
    temperature = fit_temperature(logits.numpy(), labels.numpy(), SINGLE)
    assert cross_entropy(logits / temperature, labels).item() == pytest.approx(repeat.losses[best], abs=1e-4)


def test_resumed_frozen_run_predicts_the_same_bits(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = HeadData(topics(96), topics(32, seed=1), None, NAMES)
    settings = resolve_arguments(HeadArguments(num_epochs=2))
    first, second = (HeadTraining(str(model), data, settings, tmp_path) for _ in range(2))
    first.run(on_repeat=lambda _: None)
    second.run(on_repeat=lambda _: None)
    # The second run must not embed again: other bits would result.
    monkeypatch.setattr(AsteriskModel, "encode", None)
    texts = data.train.texts
    np.testing.assert_array_equal(first.predict(first.best_model(), texts), second.predict(second.best_model(), texts))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_resumed_training_ends_with_the_same_model(
    mode: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"mode": mode, "repeats": 2, "samples_per_label": 40, "batch_size": 32}
    whole, repeats = train(model, tmp_path / "whole", **arguments)
    steps = itertools.count(1)
    on_step_end = Progress.on_step_end

    def stop(self: Progress, *positional: Any, **named: Any) -> None:
        on_step_end(self, *positional, **named)
        if next(steps) == 28:  # in the fourth pass, of three steps, of the second repeat
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_step_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path / "stopped", **arguments)
    trained_before = 28
    resumed, again = train(model, tmp_path / "stopped", **arguments)
    # Only the steps after the last checkpoint were repeated, of 36.
    assert next(steps) - 1 - trained_before == 36 - 27
    assert [(own.development, own.test, own.losses) for own in again] == [
        (own.development, own.test, own.losses) for own in repeats
    ]
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weight, msg=name)


def test_best_repeat_on_development_is_saved(model: Path, tmp_path: Path) -> None:
    saved, repeats = train(model, tmp_path, samples_per_label=2, repeats=4, num_epochs=3)
    assert len({tuple(repeat.losses) for repeat in repeats}) == 4
    scores = [(own.development or {})["accuracy"] or 0 for own in repeats]
    best = best_repeat(repeats)
    assert scores[best] == max(scores)
    data = HeadData(topics(96), topics(32, seed=1), topics(32, seed=2), NAMES)
    training = HeadTraining(str(model), data, resolve_arguments(HeadArguments()), tmp_path / "other")
    right = training.predict(saved, (data.development or data.train).texts).argmax(axis=1) == np.tile([0, 1], 16)
    assert 100 * right.mean() == pytest.approx(scores[best])


@pytest.mark.slow
def test_regression_predicts_on_the_scale_of_the_labels(model: Path, tmp_path: Path) -> None:
    def numbers(count: int, seed: int) -> LabelledTexts:
        data = topics(count, seed)
        values = [500.0 if label == "food" else 700.0 for label in data.labels]
        return LabelledTexts("x", "text", "price", REGRESSION, data.texts, values)

    data = HeadData(numbers(96, 0), numbers(32, 1), numbers(32, 2), ["price"])
    head, (repeat,) = train(model, tmp_path / "one", data, mode="full", num_epochs=20)
    assert (head.config.problem_type, head.config.id2label) == (REGRESSION, {0: "price"})
    assert ((repeat.test or {})["pearson"] or 0) > 90
    out = head.classifier.out_proj.bias.item()
    assert 400 < out < 800
    # Further training starts from the trained head.
    _, (further,) = train(tmp_path / "one" / "training" / "best", tmp_path / "two", data, num_epochs=1, seed=1)
    assert further.losses[0] < 2 * min(repeat.losses) + 0.05


def test_weights_that_are_not_finite_are_reported(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="weights that are not finite; give a lower --learning_rate"):
        train(model, tmp_path / "run", mode="full", learning_rate=1e30)
