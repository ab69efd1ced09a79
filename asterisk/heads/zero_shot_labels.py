"""Training texts without labels: labelled by a teacher's zero-shot decisions, of which the surest are kept.

After "LLM Teacher-Student Framework for Text Classification With No Manually Annotated Data" (Kuzman & Ljubešić 2024,
arXiv:2411.19638), with a sentence encoder as the teacher: a text's label is the one whose name has the nearest
embedding ([`asterisk.evaluation.zero_shot.class_embeddings`]).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asterisk.core.errors import UserError
from asterisk.data.labels import SINGLE, LabelledTexts
from asterisk.evaluation.zero_shot import class_embeddings
from asterisk.heads.arguments import TEMPLATE_SEPARATOR, PseudoLabelArguments

if TYPE_CHECKING:
    from asterisk.models.encoder import Encoder


def parse_labels(labels: str) -> tuple[list[str], dict[str, str]]:
    """The names, and the descriptions of those that have one, of `NAME=DESCRIPTION,NAME,…`.

    Raises:
        UserError: There are not two different names, or one is empty.
    """
    parts = [part.partition("=") for part in labels.split(",")]
    names = [name.strip() for name, _, _ in parts]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise UserError(f"--zero_shot_labels must hold two or more different labels, such as a,b,c, not {labels!r}.")
    return names, {name.strip(): text.strip() for name, _, text in parts if text.strip()}


class ZeroShotTeacher:
    """Labels texts by the nearest label; the encoder's vectors are of unit length, so nearness is their product."""

    def __init__(self, encoder: "Encoder", arguments: PseudoLabelArguments):
        """Embeds the labels.

        Raises:
            UserError: A template, a label or the share is wrong.
        """
        if not 0 < arguments.keep_share <= 1:
            raise UserError(f"--keep_share must lie above 0 and up to 1, not {arguments.keep_share}.")
        self.encoder, self.arguments = encoder, arguments
        self.names, descriptions = parse_labels(arguments.zero_shot_labels)
        templates = arguments.label_template.split(TEMPLATE_SEPARATOR)
        self.labels = class_embeddings(encoder, self.names, templates, descriptions)

    def decide(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The nearest label's number (texts,), int64, and by how much its cosine is above the next one's (texts,)."""
        cosines = self.encoder.encode(list(texts)) @ self.labels.T
        nearest, next_one = np.sort(cosines, axis=1)[:, :-3:-1].T
        return cosines.argmax(axis=1), nearest - next_one

    def label(self, texts: Sequence[str], source: str, text_column: str) -> tuple[LabelledTexts, dict[str, Any]]:
        """The surest of the texts with their labels, and a record of what was kept.

        Raises:
            UserError: All that is kept has one label.
        """
        numbers, margins = self.decide(texts)
        rows = surest(numbers, margins, len(self.names), self.arguments.keep_share)
        kept = LabelledTexts(
            source,
            text_column,
            "",
            SINGLE,
            [texts[row] for row in rows],
            [self.names[numbers[row]] for row in rows],
        )
        counts = np.bincount(numbers[rows], minlength=len(self.names))
        if (counts > 0).sum() < 2:
            raise UserError(
                f"{self.encoder.name} finds all texts of {source} nearest to one label, {kept.labels[0]!r}; describe "
                "the labels (NAME=DESCRIPTION), or give another --teacher or --label_template."
            )
        record = {
            "teacher": self.encoder.name,
            "labels": self.arguments.zero_shot_labels,
            "label_template": self.arguments.label_template,
            "texts": len(texts),
            "kept": len(rows),
            "kept_of_label": dict(zip(self.names, counts.tolist(), strict=True)),
        }
        return kept, record


def surest(numbers: np.ndarray, margins: np.ndarray, classes: int, share: float) -> np.ndarray:
    """The rows of the largest margins, in order: of each class the same number, or all if it has fewer."""
    each = max(1, round(share * len(numbers) / classes))
    rows = [np.flatnonzero(numbers == number) for number in range(classes)]
    return np.sort(np.concatenate([own[np.argsort(-margins[own], kind="stable")[:each]] for own in rows]))
