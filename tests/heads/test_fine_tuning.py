"""Fine-tuning: learning rates per layer, perturbed texts, averaged weights."""

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from asterisk.data.labels import SINGLE
from asterisk.heads.arguments import HeadArguments, resolve_arguments
from asterisk.heads.fine_tuning import Averaging, HeadTrainer, layered_groups
from asterisk.heads.head_model import load_classifier, renew_head
from asterisk.heads.token_rows import TokenizedRows
from tests.support.heads import NAMES


def test_lower_layers_have_lower_learning_rates(model: Path) -> None:
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


def test_perturbed_texts_have_a_higher_loss(model: Path, tmp_path: Path) -> None:
    classifier, tokenizer, _ = load_classifier(str(model), NAMES, SINGLE)
    renew_head(classifier)
    classifier.classifier.dropout.p = 0.0  # type: ignore[union-attr, assignment]
    rows = TokenizedRows(tokenizer(["A text.", "Another, longer one."])["input_ids"], torch.tensor([0, 1]))
    losses = {}
    for norm in (0.0, 0.2):
        settings = resolve_arguments(HeadArguments(mode="full", perturbation=norm))
        trainer = HeadTrainer(classifier, rows, None, cross_entropy, SINGLE, settings, tmp_path, seed=0)
        for training in (True, False):
            classifier.train(training)
            losses[norm, training] = trainer.compute_loss(classifier, rows.__getitems__([0, 1])).item()
    # Passing token vectors changes nothing, and evaluation perturbs nothing.
    assert losses[0.0, True] == losses[0.0, False] == losses[0.2, False]
    assert losses[0.2, True] > losses[0.0, True]


def test_average_is_kept_and_training_continues_from_the_last_step(model: Path, tmp_path: Path) -> None:
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
