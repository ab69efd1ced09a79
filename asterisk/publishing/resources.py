"""Files outside the Python packages that publishing needs, in a checkout and in an installed wheel."""

from importlib.metadata import files
from pathlib import Path

DISTRIBUTION = "asterisk-embed"
PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]


def resource(name: str) -> Path:
    """Return the path of a file or folder, named as in a checkout.

    A wheel holds `model_card/` and `recipes/sts_captions/` inside this package, and LICENSE in its metadata.
    """
    if (CHECKOUT / "model_card").is_dir():
        return CHECKOUT / name
    if name == "LICENSE":
        return next(Path(str(file.locate())) for file in files(DISTRIBUTION) or [] if file.name == name)
    return PACKAGE / name.removeprefix("recipes/")
