"""Heads in all modes: what learns and what does not, what is kept, what a stopped training goes on with."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from asterisk.core.errors import UserError
from asterisk.data.labels import MULTI, REGRESSION, SINGLE, LabelledTexts
from asterisk.data.splits import HeadData
from asterisk.heads import token_rows
from asterisk.heads.adapters import adapters_folder, save_adapters
from asterisk.heads.arguments import MODES, HeadArguments, resolve_arguments
from asterisk.heads.calibration import fit_temperature
from asterisk.heads.fine_tuning import Averaging, Progress, layered_groups, make_trainer
from asterisk.heads.head_model import load_classifier, renew_head, shift_outputs
from asterisk.heads.losses import make_loss
from asterisk.heads.report import Repeat
from asterisk.heads.token_rows import TokenizedRows
from asterisk.heads.training import HeadTraining, best_repeat
from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel
from tests.support.labelled import topic_rows, write_tiny_asterisk

NAMES = ["food", "sport"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_asterisk(tmp_path_factory.mktemp("tiny") / "model")


def topics(count: int, seed: int = 0) -> LabelledTexts:
    rows = topic_rows(count, seed)
    return LabelledTexts("x", "text", "label", SINGLE, [text for text, _ in rows], [topic for _, topic in rows])


def train(
    model: Path, folder: Path, data: HeadData | None = None, **arguments: Any
) -> tuple[AsteriskForSequenceClassification, list[Repeat]]:
    data = data or HeadData(topics(96), topics(32, seed=1), topics(32, seed=2), NAMES)
    arguments = {"num_epochs": 6, **arguments}
    training = HeadTraining(str(model), data, resolve_arguments(HeadArguments(**arguments)), folder)
    repeats = training.run(on_repeat=lambda _: None)
    return AsteriskForSequenceClassification.from_pretrained(training.best_folder), repeats


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_trains_what_it_says(mode: str, model: Path, tmp_path: Path) -> None:
    before = AsteriskModel.from_pretrained(model).state_dict()
    after, (repeat,) = train(model, tmp_path, mode=mode, num_epochs=20, learning_rate=0.01)
    assert repeat.test is not None
    # The backbone has learned nothing before.
    assert (repeat.test["accuracy"] or 0) > (60 if mode == "frozen" else 80)
    changed = {name for name, weight in after.asterisk.state_dict().items() if not torch.equal(weight, before[name])}
    tables = {"embeddings.embed_tokens.weight", "embeddings.embed_positions.weight"}
    matrices = {name for name in before if name.endswith(("_proj.weight", "projection.weight"))}
    assert changed == {"frozen": set(), "lora": matrices, "full": set(before)}[mode]
    assert tables <= set(before)
    # Nothing of the adapters is left.
    assert {name.partition(".")[0] for name in after.state_dict()} == {"asterisk", "classifier"}


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_fine_tuning_begins_with_the_frozen_head(mode: str, model: Path, tmp_path: Path) -> None:
    frozen, _ = train(model, tmp_path / "frozen", num_epochs=MODES["frozen"].num_epochs)
    begun, _ = train(model, tmp_path / mode, mode=mode, num_epochs=1, learning_rate=1e-9)
    for name, weight in frozen.classifier.state_dict().items():
        torch.testing.assert_close(begun.classifier.state_dict()[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    alone, _ = train(model, tmp_path / "random", mode=mode, num_epochs=1, learning_rate=1e-9, head_first=48)
    assert not torch.allclose(alone.classifier.out_proj.weight, frozen.classifier.out_proj.weight, atol=1e-2)
    # A head that is there already is trained further as it is.
    save_student(frozen, load_classifier(str(model), NAMES, SINGLE)[1], tmp_path / "own")
    further, _ = train(tmp_path / "own", tmp_path / "further", mode=mode, num_epochs=1, learning_rate=1e-9)
    for name, weight in frozen.classifier.state_dict().items():
        torch.testing.assert_close(further.classifier.state_dict()[name], weight, msg=name)


@pytest.mark.parametrize("kind", [SINGLE, REGRESSION])
def test_adapters_kept_by_themselves_are_the_merged_model(model: Path, tmp_path: Path, kind: str) -> None:
    data = None
    if kind == REGRESSION:
        texts = topics(64).texts
        lengths = [float(len(text)) for text in texts]
        data = HeadData(LabelledTexts("x", "text", "label", kind, texts, lengths), None, None, ["length"])
    merged, _ = train(model, tmp_path, data, mode="lora", num_epochs=2, learning_rate=0.01, keep_adapters=True)
    merged.config.temperature = 2.0
    save_adapters(merged, adapters_folder(tmp_path / "training" / "repeat-0"), str(model), tmp_path / "adapters")
    assert sum(file.stat().st_size for file in (tmp_path / "adapters").iterdir()) <= 1_000_000
    config = AutoConfig.from_pretrained(tmp_path / "adapters", trust_remote_code=True)
    assert config.temperature == 2
    assert config.id2label == merged.config.id2label
    base = AutoModelForSequenceClassification.from_pretrained(model, config=config, trust_remote_code=True)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapters").merge_and_unload().eval()
    _, tokenizer, _ = load_classifier(str(model), NAMES, SINGLE)
    encoded = tokenizer(["A text.", "Another one"], return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        torch.testing.assert_close(adapted(**encoded).logits, merged.eval()(**encoded).logits, rtol=1e-4, atol=1e-4)


def test_the_weights_of_the_lowest_development_loss_are_kept(model: Path, tmp_path: Path) -> None:
    development = topics(32, seed=1)
    # Labels at random: the more is learned of training, the worse on development.
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


def test_a_frozen_head_says_the_same_bit_for_bit_when_a_run_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = HeadData(topics(96), topics(32, seed=1), None, NAMES)
    settings = resolve_arguments(HeadArguments(num_epochs=2))
    first, second = (HeadTraining(str(model), data, settings, tmp_path) for _ in range(2))
    first.run(on_repeat=lambda _: None)
    second.run(on_repeat=lambda _: None)
    # As embeddings of other passes would be, which are equal but for the last bits.
    monkeypatch.setattr(AsteriskModel, "encode", None)
    texts = data.train.texts
    np.testing.assert_array_equal(first.predict(first.best_model(), texts), second.predict(second.best_model(), texts))


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_stopped_training_goes_on_to_the_same_end(
    mode: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"mode": mode, "repeats": 2, "samples_per_label": 40, "batch_size": 32}
    whole, repeats = train(model, tmp_path / "whole", **arguments)
    steps = itertools.count(1)
    on_step_end = Progress.on_step_end

    def stop(self: Progress, *positional: Any, **named: Any) -> None:
        on_step_end(self, *positional, **named)
        if next(steps) == 28:  # in the second repeat's fourth pass of three steps
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_step_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path / "stopped", **arguments)
    trained_before = 28
    resumed, again = train(model, tmp_path / "stopped", **arguments)
    # Of 36 steps in all only those since the last checkpoint were taken twice.
    assert next(steps) - 1 - trained_before == 36 - 27
    assert [(own.development, own.test, own.losses) for own in again] == [
        (own.development, own.test, own.losses) for own in repeats
    ]
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weight, msg=name)


def test_the_repeat_that_is_best_on_development_is_saved(model: Path, tmp_path: Path) -> None:
    saved, repeats = train(model, tmp_path, samples_per_label=2, repeats=4, num_epochs=3)
    assert len({tuple(repeat.losses) for repeat in repeats}) == 4
    scores = [(own.development or {})["accuracy"] or 0 for own in repeats]
    best = best_repeat(repeats)
    assert scores[best] == max(scores)
    data = HeadData(topics(96), topics(32, seed=1), topics(32, seed=2), NAMES)
    training = HeadTraining(str(model), data, resolve_arguments(HeadArguments()), tmp_path / "other")
    right = training.predict(saved, (data.development or data.train).texts).argmax(axis=1) == np.tile([0, 1], 16)
    assert 100 * right.mean() == pytest.approx(scores[best])


def test_numbers_are_predicted_on_their_own_scale(model: Path, tmp_path: Path) -> None:
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
    # A head that is trained further starts from what it knows.
    _, (further,) = train(tmp_path / "one" / "training" / "best", tmp_path / "two", data, num_epochs=1, seed=1)
    assert further.losses[0] < 2 * min(repeat.losses) + 0.05


def test_a_head_for_the_same_classes_is_trained_further_in_their_order(model: Path, tmp_path: Path) -> None:
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


def test_class_weights_make_each_class_count_alike() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    weighted = make_loss(SINGLE, labels, is_weighted=True)
    parts = [weighted(logits[labels == own], labels[labels == own]) for own in (0, 1)]
    assert weighted(logits, labels).item() == pytest.approx(sum(parts).item() / 2)  # type: ignore[union-attr]
    assert make_loss(SINGLE, labels, is_weighted=False)(logits, labels).item() == pytest.approx(
        cross_entropy(logits, labels).item()
    )
    several = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weighted = make_loss(MULTI, several, is_weighted=True)
    # Where no class is more probable than not, what is there weighs as much as what is not.
    logits = torch.zeros(4, 2, requires_grad=True)
    weighted(logits, several).backward()
    assert logits.grad is not None
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-6)


def test_lower_layers_learn_slower(model: Path) -> None:
    classifier, _, _ = load_classifier(str(model), NAMES, SINGLE)
    groups = layered_groups(classifier, 1.0, 0.5, 0.01)
    found = {id(weight): group for group in groups for weight in group["params"]}
    assert len(found) == len(list(classifier.parameters()))
    backbone: Any = classifier.asterisk
    for weight, rate, decay in (
        (classifier.classifier.out_proj.weight, 1.0, 0.01),
        (backbone.projection.weight, 1.0, 0.01),
        (backbone.layers[1].mlp.up_proj.weight, 0.5, 0.01),
        (backbone.layers[1].mlp.up_proj.bias, 0.5, 0.0),
        (backbone.layers[0].mlp.up_proj.weight, 0.25, 0.01),
        (backbone.embeddings.embed_tokens.weight, 0.125, 0.0),
    ):
        assert (found[id(weight)]["lr"], found[id(weight)]["weight_decay"]) == (rate, decay)


def test_outputs_are_shifted_exactly(model: Path) -> None:
    head = load_classifier(str(model), NAMES, SINGLE)[0].classifier.eval()
    vectors = torch.randn(3, 16)
    with torch.no_grad():
        before = head(vectors)
        shift_outputs(head, 7.0, 3.0)
        torch.testing.assert_close(head(vectors), 3 * before + 7)


def test_wrong_models_and_settings_are_refused_in_a_sentence(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((model / "config.json").read_text())
    for name, message in (
        ("bert", "is not an Asterisk, but of model type 'bert'"),
        ("empty", "has no config.json"),
        ("bare", "cannot be loaded"),
        ("nowhere", "There is no model folder"),
    ):
        with pytest.raises(UserError, match=message):
            load_classifier(str(tmp_path / name), NAMES, SINGLE)
    for arguments, message in (
        ({"keep_adapters": True}, "requires --mode lora"),
        ({"mode": "half"}, "--mode must be frozen, lora, full, not 'half'"),
        ({"repeats": 0}, "--repeats must be at least 1"),
        ({"learning_rate": -1.0}, "--learning_rate must be above 0"),
        ({"warmup_ratio": 1.0}, "--warmup_ratio must be at least 0 and below 1"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_arguments(HeadArguments(**arguments))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="weights that are not finite; give a lower --learning_rate"):
        train(model, tmp_path / "run", mode="full", learning_rate=1e30)


def test_a_perturbed_text_is_one_whose_loss_is_higher(model: Path, tmp_path: Path) -> None:
    classifier, tokenizer, _ = load_classifier(str(model), NAMES, SINGLE)
    renew_head(classifier)
    classifier.classifier.dropout.p = 0.0  # type: ignore[union-attr, assignment]
    rows = TokenizedRows(tokenizer(["A text.", "Another, longer one."])["input_ids"], torch.tensor([0, 1]))
    losses = {}
    for norm in (0.0, 0.2):
        settings = resolve_arguments(HeadArguments(mode="full", perturbation=norm))
        trainer = make_trainer(classifier, rows, None, cross_entropy, SINGLE, settings, tmp_path, seed=0)
        for training in (True, False):
            classifier.train(training)
            losses[norm, training] = trainer.compute_loss(classifier, rows.__getitems__([0, 1])).item()
    # Token vectors given as they are make no difference, and none are moved where nothing is learned.
    assert losses[0.0, True] == losses[0.0, False] == losses[0.2, False]
    assert losses[0.2, True] > losses[0.0, True]


def test_what_is_kept_is_the_average_of_the_steps_and_training_goes_on_from_the_last(
    model: Path, tmp_path: Path
) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0)
    averaging, state = Averaging(), TrainerState()
    arguments = (TrainingArguments(str(tmp_path)), state, TrainerControl())
    averaging.on_epoch_begin(*arguments, optimizer=optimizer)
    seen = []
    for state.global_step in range(1, 5):
        weight.grad = torch.tensor([-1.0])
        optimizer.step()
        seen.append(weight.item())
        averaging.on_step_end(*arguments, optimizer=optimizer)
    averaging.on_epoch_end(*arguments, optimizer=optimizer)
    assert seen[0] < weight.item() < seen[-1]
    averaging.on_epoch_begin(*arguments, optimizer=optimizer)
    assert weight.item() == seen[-1]


def test_rows_of_the_table_that_no_text_needs_make_no_difference(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_classifier(str(model), NAMES, SINGLE)[0].asterisk.embeddings.embed_tokens.weight
    narrow, (line,) = train(model, tmp_path / "narrow", mode="full", num_epochs=3)
    monkeypatch.setattr(token_rows, "distinct_tokens", lambda *parts: np.arange(len(before)))
    whole, (same,) = train(model, tmp_path / "whole", mode="full", num_epochs=3)
    assert line.losses == pytest.approx(same.losses, abs=1e-4)
    after = narrow.asterisk.embeddings.embed_tokens.weight
    torch.testing.assert_close(after, whole.asterisk.embeddings.embed_tokens.weight, rtol=1e-3, atol=1e-4)
    learned = (after != before).any(dim=1)
    assert 0 < learned.sum() < len(before)
