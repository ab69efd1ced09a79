"""Files as real tools write them are read right, or refused in a sentence; nothing is changed without a word."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asterisk.core.errors import UserError
from asterisk.data.arguments import FileFormat
from asterisk.data.labelled_tables import read_labelled_texts
from asterisk.data.readers import read_columns, read_texts
from asterisk.data.text_files import say
from tests.support.real_file import TEXTS, RealFile
from tests.support.real_files import FILES, FOLDER, PAGE, files_page

ALL = [file for files in FILES.values() for file in files]


@pytest.mark.parametrize("file", ALL, ids=str)
def test_a_file_is_read_right_or_refused_right(
    file: RealFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say.cache_clear()
    flags: dict[str, Any] = dict(file.flags)
    formats = FileFormat(**{name: flags.pop(name) for name in ("separator", "encoding", "quoting") if name in flags})
    names = flags.pop("label_names", "")
    separator = flags.pop("label_separator", "")
    path = (tmp_path if file.content else FOLDER) / file.name
    if file.content:
        path.write_bytes(file.content if isinstance(file.content, bytes) else file.content.encode())

    def read() -> tuple[list[str], list[Any]]:
        found = read_labelled_texts(
            str(path), separator=separator, label_names=names.split(",") if names else (), file_format=formats, **flags
        )
        return found.texts, found.labels

    if file.refusal:
        with pytest.raises(UserError) as refused:
            read()
        assert file.refusal in str(refused.value)
        assert file.name in str(refused.value)
        assert "\n" not in str(refused.value)
    else:
        assert read() == (file.texts, file.labels)
    said = capsys.readouterr().err
    assert file.note in said
    assert file.refusal or bool(said) == bool(file.note), said


def test_every_file_of_the_folder_has_its_case() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*(file.name for file in ALL if not file.content), "cp1252.txt"}


def test_lines_of_text_in_another_encoding_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    say.cache_clear()
    assert list(read_texts(str(FOLDER / "cp1252.txt"), "text")) == TEXTS
    assert "read as cp1252" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_an_encoding_that_is_none_of_text_is_refused(encoding: str) -> None:
    with pytest.raises(UserError, match=f"There is no encoding '{encoding}'; give --encoding utf-8, cp1252"):
        list(read_texts(str(FOLDER / "cp1252.txt"), "text", FileFormat(encoding=encoding)))


def test_the_page_of_files_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == files_page()


# All that a table may hold but half surrogates and carriage returns, which files read as line breaks.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)
# Quoted texts of several lines that look like rows are another test's matter.
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)


class Excel(csv.excel):
    """The dialect of Excel where a comma is the decimal separator."""

    delimiter = ";"


def write(path: Path, rows: list[tuple[str, str]], writer: str) -> None:
    table = pd.DataFrame(rows, columns=["text", "label"])
    if writer == "pandas.csv":
        table.to_csv(path, index=False)
    elif writer == "pandas.tsv":
        table.to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_ALL)
    elif writer == "pandas.jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    elif writer == "pandas.json":
        table.to_json(path, orient="records", indent=1)
    elif writer == "pandas.parquet":
        table.to_parquet(path)
    else:
        encoding = {"excel.csv": "utf-8-sig", "unicode.csv": "utf-16"}.get(writer, "utf-8")
        dialects: dict[str, Any] = {"excel.csv": Excel, "unicode.csv": csv.excel_tab, "unix.csv": csv.unix_dialect}
        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file, dialects.get(writer, csv.excel)).writerows([("text", "label"), *rows])


@pytest.mark.parametrize("quoting", ["", "double"])
@pytest.mark.parametrize(
    "writer",
    [
        *("pandas.csv", "pandas.tsv", "pandas.jsonl", "pandas.json", "pandas.parquet"),
        *("csv.csv", "unix.csv", "excel.csv", "unicode.csv"),
    ],
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tables_that_common_tools_write_are_read_back_equal(
    writer: str, quoting: str, tmp_path: Path, data: st.DataObject
) -> None:
    cells = CELLS if quoting else LINES
    rows = data.draw(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
    # A row of blank cells is what a spreadsheet leaves at the end; it is left out, and said.
    rows = [row for row in rows if any(cell.strip() for cell in row)] or [("a", "b")]
    path = tmp_path / f"table.{writer.rpartition('.')[2]}"
    write(path, rows, writer)
    found = read_columns(str(path), ["text", "label"], file_format=FileFormat(quoting=quoting))
    assert list(zip(found["text"], found["label"], strict=True)) == rows
