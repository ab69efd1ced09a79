"""Label training texts with a teacher, and keep the most confident labels.

The method follows Kuzman & Ljubešić 2024 ("LLM Teacher-Student Framework for Text Classification With No Manually
Annotated Data", arXiv:2411.19638), but the teacher is a sentence encoder: a text gets the label whose name has the
nearest embedding ([`asterisk.evaluation.zero_shot.class_embeddings`]).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asterisk.core.arguments import check_options
from asterisk.core.errors import UserError
from asterisk.data.labels import SINGLE, LabelledTexts
from asterisk.evaluation.zero_shot import class_embeddings
from asterisk.heads.arguments import TEMPLATE_SEPARATOR, PseudoLabelArguments
from asterisk.heads.report import ZeroShotRecord

if TYPE_CHECKING:
    from asterisk.models.encoder import TextEncoder


def parse_labels(labels: str) -> tuple[list[str], dict[str, str]]:
    """Parse `NAME=DESCRIPTION,NAME,…` into the names, and name → description for the names that have one.

    Raises:
        UserError: There are fewer than two names, or a name is empty or repeated.
    """
    parts = [part.partition("=") for part in labels.split(",")]
    names = [name.strip() for name, _, _ in parts]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise UserError(f"--zero_shot_labels must hold two or more different labels, such as a,b,c, not {labels!r}.")
    return names, {name.strip(): text.strip() for name, _, text in parts if text.strip()}


class ZeroShotTeacher:
    """Labels texts by the nearest label embedding; vectors have unit length, so cosines are dot products."""

    def __init__(self, encoder: "TextEncoder", arguments: PseudoLabelArguments):
        """Embed the labels; raise a [`UserError`] if a template, a label or `keep_share` is invalid."""
        check_options(arguments)
        self.encoder, self.arguments = encoder, arguments
        self.names, descriptions = parse_labels(arguments.zero_shot_labels)
        templates = arguments.label_template.split(TEMPLATE_SEPARATOR)
        self.labels = class_embeddings(encoder, self.names, templates, descriptions)

    def decide(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest label of each text.

        Returns:
            Label numbers (texts,), int64, and margins (texts,): the cosine to that label minus the second highest.
        """
        cosines = self.encoder.encode(list(texts)) @ self.labels.T
        nearest, second = np.sort(cosines, axis=1)[:, :-3:-1].T
        return cosines.argmax(axis=1), nearest - second

    def label(self, texts: Sequence[str], source: str, text_column: str) -> tuple[LabelledTexts, ZeroShotRecord]:
        """Label the texts of the file `source`, and keep the most confident labels.

        Raises:
            UserError: All of them are the same.
        """
        numbers, margins = self.decide(texts)
        rows = most_confident(numbers, margins, len(self.names), self.arguments.keep_share)
        labels = [self.names[number] for number in numbers[rows]]
        counts = np.bincount(numbers[rows], minlength=len(self.names))
        if (counts > 0).sum() < 2:
            raise UserError(
                f"{self.encoder.name} finds all texts of {source} nearest to one label, {labels[0]!r}; describe "
                "the labels (NAME=DESCRIPTION), or give another --teacher or --label_template."
            )
        record = ZeroShotRecord(
            teacher=self.encoder.name,
            labels=self.arguments.zero_shot_labels,
            label_template=self.arguments.label_template,
            texts=len(texts),
            kept=len(rows),
            kept_of_label=dict(zip(self.names, counts.tolist(), strict=True)),
        )
        return LabelledTexts(source, text_column, "", SINGLE, [texts[row] for row in rows], labels), record


def most_confident(numbers: np.ndarray, margins: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Return the rows with the largest margins, ascending: equally many per class, or all rows of a rarer class.

    `numbers` are the class numbers (texts,), below `classes`; `share` is the share of the texts to keep.
    """
    quota = max(1, round(share * len(numbers) / classes))
    rows_of = [np.flatnonzero(numbers == number) for number in range(classes)]
    return np.sort(np.concatenate([rows[np.argsort(-margins[rows], kind="stable")[:quota]] for rows in rows_of]))
