"""Texts without labels get the most confident labels of a teacher, evenly over the labels."""

from dataclasses import replace

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.heads.arguments import PseudoLabelArguments
from asterisk.heads.zero_shot_labels import ZeroShotTeacher, most_confident, parse_labels
from asterisk.models.load import load_encoder
from tests.support.paths import TEACHER

TEXTS = {
    "sport": ["The striker scored twice in the final.", "She won the tennis match.", "Our team lost the league game."],
    "food": ["Stir the soup and add garlic.", "Bake the bread in a hot oven.", "This curry is too spicy to eat."],
    "weather": ["It will rain all weekend.", "A storm with strong wind is coming.", "Sunny and warm tomorrow."],
}
ARGUMENTS = PseudoLabelArguments(zero_shot_labels="sport,food=cooking and food,weather", keep_share=1.0)


def test_teacher_labels_texts_by_names_and_descriptions() -> None:
    teacher = ZeroShotTeacher(load_encoder(TEACHER), ARGUMENTS)
    texts = [text for own in TEXTS.values() for text in own]
    kept, record = teacher.label(texts, "x", "text")
    assert kept.labels == [name for name, own in TEXTS.items() for _ in own]
    assert record.kept_of_label == {"sport": 3, "food": 3, "weather": 3}
    few, _ = ZeroShotTeacher(teacher.encoder, replace(ARGUMENTS, keep_share=1 / 3)).label(texts, "x", "text")
    assert sorted(few.labels) == ["food", "sport", "weather"]
    numbers, margins = teacher.decide(texts)
    for text in few.texts:
        row = texts.index(text)
        assert margins[row] == margins[numbers == numbers[row]].max()
    with pytest.raises(UserError, match="nearest to one label, 'food'; describe"):
        teacher.label(TEXTS["food"], "x", "text")


def test_the_same_number_of_most_confident_texts_is_kept_for_each_class() -> None:
    numbers, margins = np.array([0, 0, 0, 0, 0, 1, 0, 1]), np.array([5.0, 1, 4, 3, 2, 0.1, 6, 0.2])
    assert most_confident(numbers, margins, 2, 0.5).tolist() == [0, 5, 6, 7]
    assert most_confident(numbers, margins, 2, 1.0).tolist() == [0, 2, 3, 5, 6, 7]


def test_wrong_labels_and_shares_are_refused_in_a_sentence() -> None:
    assert parse_labels("a=one, b ,c=") == (["a", "b", "c"], {"a": "one"})
    for labels in ("a", "a,a", "a,,b"):
        with pytest.raises(UserError, match="two or more different labels"):
            parse_labels(labels)
    for change, message in (
        ({"keep_share": 0.0}, "--keep_share must be above 0"),
        ({"label_template": "x"}, "must hold {}"),
    ):
        with pytest.raises(UserError, match=message):
            ZeroShotTeacher(load_encoder(TEACHER), replace(ARGUMENTS, **change))  # type: ignore[arg-type]
