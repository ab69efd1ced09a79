"""Files and folders appear complete or not at all."""

from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file, atomic_folder, read_json, remove_temporary_files, write_json


def interrupt(file: Path) -> None:
    file.write_text("half")
    raise ZeroDivisionError


def test_failed_write_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": "é"})
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        interrupt(temporary)
    assert (read_json(path), list(tmp_path.iterdir())) == ({"a": "é"}, [path])


def test_failed_folder_leaves_nothing_not_even_its_parents(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "new" / "folder") as temporary:
        interrupt(temporary / "a")
    assert list(tmp_path.iterdir()) == []


def test_folder_replaces_the_previous_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / name).touch()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_full_disk_is_one_sentence_whichever_library_writes(tmp_path: Path) -> None:
    for error in (OSError(28, "No space left on device"), RuntimeError("iostream error")):
        with pytest.raises(UserError, match=r"a\.bin could not be written"), atomic_file(tmp_path / "a.bin"):
            raise error


def test_temporary_files_of_dead_processes_are_removed_and_of_other_machines_kept(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a") as temporary:
        temporary.touch()
        dead = temporary.with_name(temporary.name.replace(f".{temporary.name.split('.')[-2]}.", ".99999999."))
        elsewhere = tmp_path / ".a.other-machine.99999999.tmp"
        dead.touch()
        elsewhere.touch()
        remove_temporary_files(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {temporary.name, elsewhere.name}


def test_json_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    assert read_json(tmp_path / "a.json", required=False) is None
    with pytest.raises(UserError, match=r"There is no .*a\.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_json(tmp_path / "a.json")
