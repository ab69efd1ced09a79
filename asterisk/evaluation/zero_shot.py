"""Zero-shot classification: a text gets the class whose label, in words, has the nearest embedding."""

import re
from collections.abc import Sequence

import numpy as np

from asterisk.core.errors import UserError, listed
from asterisk.core.vectors import unit
from asterisk.evaluation.arguments import TEMPLATES
from asterisk.models.encoder import TextEncoder

_BOUNDARY = re.compile(r"[_\-.#\s]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def label_text(label: str) -> str:
    """Split a label's name into words: at underscores, hyphens, dots, number signs and CamelCase."""
    return " ".join(_BOUNDARY.sub(" ", label).split()) or label


def class_embeddings(
    encoder: TextEncoder,
    classes: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    descriptions: dict[str, str] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Embed the classes for zero-shot classification: unit vectors (classes, dimension), float32.

    A class's vector is the normalised mean of the unit vectors of its prompts (Radford et al. 2021, arXiv:2103.00020,
    section 3.1.4).

    Args:
        encoder: Embeds the prompts.
        classes: The names of the classes.
        templates: Each makes a prompt per class, in which the class's words replace `{}`.
        descriptions: Class → words to use instead of its name, which [`label_text`] splits into words.
        batch_size: Maximum number of prompts in a forward pass.

    Raises:
        UserError: A template has no `{}`, a description belongs to no class, or a class's words hold no letter.
    """
    descriptions = descriptions or {}
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        given = repr(wrong[0]) if wrong else "none"
        raise UserError(f"Templates must hold {{}} in place of the label, such as {TEMPLATES[1]!r}, not {given}.")
    if unknown := [label for label in descriptions if label not in classes]:
        raise UserError(f"There is no class {unknown[0]!r} to describe; the classes are {listed(classes)}.")
    words = [descriptions.get(label, label_text(label)) for label in classes]
    if numbers := [word for word in words if not re.search(r"[^\W\d_]", word)]:
        raise UserError(f"Zero-shot needs classes in words, not {listed(numbers)}; give each a description.")
    prompts = [template.replace("{}", word) for word in words for template in templates]
    vectors = encoder.encode(prompts, batch_size=batch_size).reshape(len(words), len(templates), -1).mean(axis=1)
    return unit(vectors)
