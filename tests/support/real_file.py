"""A table as a real tool writes it, and what is read from it."""

from dataclasses import dataclass, field
from typing import Any

TEXTS = ["The screen stays black", "I was billed twice", "Works, as it should", "Très déçu du café"]
LABELS: list[Any] = ["technical", "billing", "praise", "praise"]

THREE = ["Black screen", "Billed twice", "Fine"]
SEVERAL: list[Any] = [["technical"], ["billing", "technical"], ["praise"]]


@dataclass
class RealFile:
    """A file of the folder or one with `content`, and its reading or the sentence that refuses it."""

    name: str
    what: str
    texts: list[str] = field(default_factory=lambda: TEXTS)
    labels: list[Any] = field(default_factory=lambda: LABELS)
    note: str = ""  # a part of what is said on stderr; nothing is said if it is empty
    refusal: str = ""  # a part of the sentence
    flags: dict[str, str] = field(default_factory=dict)
    content: str | bytes = ""

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.flags.items())])


TWO, TWO_LABELS = ["Black screen", "Billed twice"], ["technical", "billing"]
