"""Trainings of heads on texts of two topics."""

from pathlib import Path
from typing import Any

from asterisk.data.labels import SINGLE, LabelledTexts
from asterisk.data.splits import HeadData
from asterisk.heads.arguments import HeadArguments, resolve_arguments
from asterisk.heads.report import Repeat
from asterisk.heads.training import HeadTraining
from modeling_asterisk import AsteriskForSequenceClassification
from tests.support.labelled import topic_rows

NAMES = ["food", "sport"]


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
