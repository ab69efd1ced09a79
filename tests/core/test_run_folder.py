"""A folder holds one run; settings that only one version knows differ only if they are on."""

from pathlib import Path
from typing import Any

import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import write_json
from asterisk.core.run_folder import RUN_FILE, check_run_folder, refuse_difference


def refusal(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The message of a refusal; "" if there is none."""
    try:
        refuse_difference("run", found, wanted, "start again")
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("off", [None, 0, 0.0, False, "", []])
def test_setting_that_one_version_lacks_is_no_difference_if_it_is_off(off: Any) -> None:
    assert not refusal({"seed": 1, "gone": off}, {"seed": 1})
    assert not refusal({"seed": 1}, {"seed": 1, "new": off})


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        ({"seed": 0}, {"seed": 1}, "seed = 0, but 1 is requested; start again."),
        ({"seed": 0}, {"seed": None}, "seed = 0, but null"),
        ({"gone": 0.5}, {}, "gone = 0.5, but null"),
        ({}, {"new": ["a"]}, 'new = null, but ["a"]'),
    ],
)
def test_difference_is_named(found: dict[str, Any], wanted: dict[str, Any], message: str) -> None:
    assert f"run was made with {message}" in refusal(found, wanted)


def test_secrets_of_urls_are_no_difference() -> None:
    assert not refusal({"corpus": "s3://key:secret@b/x"}, {"corpus": "s3://b/x"})


def test_run_is_continued_only_with_resume_and_the_same_recipe(tmp_path: Path) -> None:
    check_run_folder(tmp_path, {"seed": 0}, resume=False)
    write_json(tmp_path / RUN_FILE, {"recipe": {"seed": 0}})
    check_run_folder(tmp_path, {"seed": 0}, resume=True)
    with pytest.raises(UserError, match="already holds a run"):
        check_run_folder(tmp_path, {"seed": 0}, resume=False)
    with pytest.raises(UserError, match="seed = 0, but 1"):
        check_run_folder(tmp_path, {"seed": 1}, resume=True)
