"""evaluation.zero_shot"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asterisk.core.errors import UserError
from asterisk.models.encoder import Encoder

if TYPE_CHECKING:
    pass


# The label alone, and the label in a sentence as texts are; chosen without looking at scores.
TEMPLATES = ("{}", "This text is about {}.")


_BOUNDARY = re.compile(r"[_\-.#\s]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def label_text(label: str) -> str:
    """A label's name in words: underscores, hyphens, dots, number signs and CamelCase become spaces."""
    return " ".join(_BOUNDARY.sub(" ", label).split()) or label


def class_embeddings(
    encoder: Encoder,
    classes: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    descriptions: dict[str, str] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """What stands for the classes in zero-shot classification: unit vectors, float32, (classes, dimension).

    Each is the mean of the unit vectors of its prompts, normalised again (Radford et al. 2021, arXiv:2103.00020,
    section 3.1.4).

    Args:
        encoder: Embeds the prompts.
        classes: Their names.
        templates: Each makes a prompt of the class's words, which take the place of `{}`.
        descriptions: Class → words, where its name in words ([`label_text`]) does not say what is meant.
        batch_size: Prompts a forward pass, at most.

    Raises:
        UserError: A template has no `{}`, a description is of no class, or classes are called by numbers.
    """
    descriptions = descriptions or {}
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        given = repr(wrong[0]) if wrong else "none"
        raise UserError(f"Templates must hold {{}}, where the label goes, such as {TEMPLATES[1]!r}, not {given}.")
    if unknown := [label for label in descriptions if label not in classes]:
        raise UserError(f"There is no class {unknown[0]!r} to describe; the classes are {_listed(classes)}.")
    words = [descriptions.get(label, label_text(label)) for label in classes]
    if numbers := [word for word in words if not re.search(r"[^\W\d_]", word)]:
        raise UserError(f"Zero-shot needs classes in words, not {_listed(numbers)}; give each a description.")
    prompts = [template.replace("{}", word) for word in words for template in templates]
    vectors = encoder.encode(prompts, batch_size=batch_size).reshape(len(words), len(templates), -1).mean(axis=1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:10]) + (", …" if len(values) > 10 else "")
