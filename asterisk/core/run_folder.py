"""core.run_folder"""

import json
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError, redact
from asterisk.core.files import read_json, remove_temporary_files

# What the folder of a training says of itself.
RUN_FILE = "run.json"


def refuse_difference(path: Path | str, found: dict[str, Any], wanted: dict[str, Any], remedy: str) -> None:
    """Raises a [`UserError`] that names the first setting in which `found`, read from `path`, is not `wanted`.

    A setting that only one version knows counts as off in the other; secrets of URLs are no setting.
    """
    found, wanted = redact(found), redact(wanted)
    for name in {**wanted, **found}:
        is_known_to_both = name in found and name in wanted
        if found.get(name) != wanted.get(name) and (is_known_to_both or found.get(name) or wanted.get(name)):
            raise UserError(
                f"{path} was made with {name} = {_short(found.get(name))}, but "
                f"{_short(wanted.get(name))} is asked for; {remedy}."
            )


def check_run_folder(folder: Path, recipe: dict[str, Any], resume: bool) -> None:
    """Refuses a folder that is not free for, or already the place of, the run that `recipe` describes.

    What a run that was killed had begun to write there is removed.

    Raises:
        UserError: The folder holds another run, or this one and `resume` is not asked for, or things that are no run.
    """
    record = folder / RUN_FILE
    if record.exists():
        if not resume:
            raise UserError(f"{folder} holds a run already; continue it with --resume, or give another --output_dir.")
        recorded = read_json(record)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("recipe"), dict):
            raise UserError(f"{record} is not the record of a run, for it holds no recipe; give another --output_dir.")
        refuse_difference(folder, recorded["recipe"], recipe, "give another --output_dir, or the same recipe")
    elif folder.exists() and (not folder.is_dir() or not _is_free(folder)):
        raise UserError(f"{folder} is not empty and holds no run; give a new folder as --output_dir.")
    remove_temporary_files(folder)


def _is_free(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run may leave that is killed before it has written its record."""
    return all(entry.name == "store" or entry.match(f".{RUN_FILE}.*.tmp") for entry in folder.iterdir())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
