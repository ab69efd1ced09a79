"""Run folders: each records the recipe of its run, and only the same recipe can resume the run."""

import json
from pathlib import Path
from typing import Any

from asterisk.core.errors import UserError, redact
from asterisk.core.files import read_json, remove_temporary_files

RUN_FILE = "run.json"


def refuse_difference(path: Path | str, found: dict[str, Any], wanted: dict[str, Any], remedy: str) -> None:
    """Refuse settings that differ from recorded ones.

    Secrets in URLs are ignored. A setting that only one side has, because versions differ, is ignored if it is None,
    0, false or empty.

    Args:
        path: The place of the recorded settings, for the message.
        found: The recorded settings.
        wanted: The requested settings.
        remedy: The end of the message: what to do.

    Raises:
        UserError: A setting differs; the message names the first.
    """
    found, wanted = redact(found), redact(wanted)
    for name in {**wanted, **found}:
        recorded, requested = found.get(name), wanted.get(name)
        known_to_both = name in found and name in wanted
        if recorded != requested and (known_to_both or recorded or requested):
            raise UserError(
                f"{path} was made with {name} = {_short(recorded)}, but {_short(requested)} is requested; {remedy}."
            )


def check_run_folder(folder: Path, recipe: dict[str, Any], resume: bool) -> None:
    """Check that a folder is free or, with `resume`, holds a run of the same recipe; remove temporary files.

    Raises:
        UserError: The folder holds another run, this run without `resume`, or files that belong to no run.
    """
    record = folder / RUN_FILE
    if record.exists():
        if not resume:
            raise UserError(f"{folder} already holds a run; continue it with --resume, or give another --output_dir.")
        recorded = read_json(record)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("recipe"), dict):
            raise UserError(f"{record} is not the record of a run: it holds no recipe; give another --output_dir.")
        refuse_difference(folder, recorded["recipe"], recipe, "give another --output_dir, or the same recipe")
    elif folder.exists() and (not folder.is_dir() or not _is_free(folder)):
        raise UserError(f"{folder} is not empty and holds no run; give a new folder as --output_dir.")
    remove_temporary_files(folder)


def _is_free(folder: Path) -> bool:
    """Return whether a folder holds at most the leftovers of a run that was killed before it wrote its record."""
    return all(entry.name == "store" or entry.match(f".{RUN_FILE}.*.tmp") for entry in folder.iterdir())


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
