"""The texts whose vectors pin the release. `python -m tests.support.golden` writes the vectors of a new release."""

import json
from pathlib import Path

import numpy as np

from modeling_asterisk import AsteriskModel

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASE = REPOSITORY / "release" / "asterisk"
VECTORS = Path(__file__).resolve().parents[1] / "invariants" / "golden.npy"


def texts() -> list[str]:
    """Return 190 captions and ten unusual texts."""
    lines = (REPOSITORY / "recipes" / "sts_captions" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    captions = list(dict.fromkeys(json.loads(line)["sentence1"] for line in lines))[:190]
    odd = [
        "",
        " ",
        "a",
        "?",
        "two\nlines\tand a tab",
        "🙂🙃 👩‍👩‍👧",
        "Über Straßenbahnen – 東京 🙂",
        "1,234.5 kg @ 3 a.m.",
    ]
    return [*captions, *odd, "rain " * 100, "playlist " * 300]


if __name__ == "__main__":
    np.save(VECTORS, AsteriskModel.from_pretrained(RELEASE).float().encode(texts()))
