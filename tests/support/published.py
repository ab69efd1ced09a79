"""Texts, snippets and a small head for the tests of publishing."""

import dataclasses
import re
from pathlib import Path
from typing import Any, cast

import torch

from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.evaluation.sts import SentencePairs, read_sentence_pairs
from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel
from tests.support.paths import STS_CAPTIONS
from tests.support.small_teachers import PrecomputedTeacher

BACKBONE_TEXTS = ["A man plays the guitar.", "rain", "", "Schnee fällt auf Zürich.", "word " * 300]


def few_pairs() -> SentencePairs:
    """Few sentence pairs, for tests that ignore the score."""
    pairs = read_sentence_pairs(str(STS_CAPTIONS), "STS-B captions")
    return dataclasses.replace(pairs, first=pairs.first[:40], second=pairs.second[:40], scores=pairs.scores[:40])


def python_snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def head_folder(run: Path) -> Path:
    """The model folder of a small classifier with random weights, in the format of train_head.py."""
    return _save_random(AsteriskForSequenceClassification, run / "model")


def backbone_folder(run: Path) -> Path:
    """The model folder of the classifier's backbone, in the format of train_distill.py."""
    return _save_random(AsteriskModel, run / "model")


def exits_folder(run: Path) -> Path:
    """The model folder of a small model with exits and random weights."""
    return _save_random(AsteriskModel, run / "model", projection_dim=None, exit_layers=[1, 0])


def _save_random(
    kind: type[AsteriskModel] | type[AsteriskForSequenceClassification], folder: Path, **changes: Any
) -> Path:
    torch.manual_seed(0)
    tokenizer = student_tokenizer(cast(Any, PrecomputedTeacher()), 32, "trained:400", ["Play it."] * 9)
    labels = dict(enumerate(["music", "weather", "other"]))
    config = AsteriskConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
        temperature=2.0,
        **{"projection_dim": 32, **changes},
    )
    model = kind(config)
    backbone: Any = model.base_model
    for exit_module in backbone.exits.values():
        if not exit_module.depth:
            exit_module.token_mask[tokenizer.all_special_ids] = 0  # type: ignore[operator]
    save_student(model, tokenizer, folder)
    return folder
