"""Tables as real tools write them, what is read from each, and the page that lists them.

    python -m tests.support.real_files

writes docs/files.md.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "tests" / "real_files" / "files"
PAGE = REPOSITORY / "docs" / "files.md"

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
BACKSLASHES = 'text,label\n"He said \\"no\\", twice",technical\nA \\"good\\" one,billing\n'


def vectors(first: str, second: str) -> str:
    """JSON lines of two texts with these labels."""
    return "\n".join(f'{{"text": "{text}", "labels": {own}}}' for text, own in zip(TWO, (first, second), strict=True))


NAMES = {"label_names": "billing,technical,praise"}
NO_QUOTES = {"quoting": "none"}

FILES = {
    "Separators": [
        RealFile("plain.csv", "commas"),
        RealFile("plain.tsv", "tabs, ending .tsv"),
        RealFile("semicolon.csv", "semicolons", note="separator semicolon"),
        RealFile("tab.csv", "tabs, ending .csv", note="separator tab"),
        RealFile("pipe.csv", "pipes", note="separator pipe"),
        RealFile("comma.tsv", "commas, ending .tsv", note="separator comma"),
        RealFile("separator_line.csv", "Excel's first line `sep=;`", note="separator semicolon"),
        RealFile(
            "table.tab",
            "tabs, ending .tab",
            TWO,
            TWO_LABELS,
            content="text\tlabel\nBlack screen\ttechnical\nBilled twice\tbilling\n",
        ),
        RealFile("caret.csv", "another separator", refusal="line 4 has 2 fields, more fields than the header"),
        RealFile("caret.csv", "another separator, named", flags={"separator": "^"}),
        RealFile("more_fields.csv", "a separator in an unquoted text", refusal="line 2 has 3 fields"),
    ],
    "Encodings": [
        RealFile("byte_order_mark.csv", "UTF-8 with a byte order mark"),
        RealFile("utf16_tab.csv", "Excel's Unicode text: UTF-16, tabs", note="read as utf-16 text"),
        RealFile("utf16_no_mark.csv", "UTF-16 without a byte order mark", note="read as utf-16-le text"),
        RealFile("cp1252.csv", "Western European Windows", note="read as cp1252, with words such as 'Très'"),
        RealFile(
            "cp1251.csv",
            "Cyrillic Windows",
            texts=["Экран остаётся чёрным", "С меня списали дважды", "Всё работает отлично", "Очень доволен"],
            note="read as cp1251, with words such as 'Экран'",
        ),
        RealFile(
            "latin2.csv",
            "Central European Windows, named",
            texts=[*TEXTS[:3], "Dziękuję za żółć"],
            flags={"encoding": "cp1250"},
        ),
        RealFile("damaged_utf8.csv", "UTF-8 with a damaged byte", refusal="is not UTF-8 text (invalid start byte)"),
        RealFile("cp1252.jsonl", "JSON that is not UTF-8", refusal="--encoding, such as cp1252"),
        RealFile(
            "cp1252.jsonl", "the same, named", texts=["Très déçu"], labels=["praise"], flags={"encoding": "cp1252"}
        ),
        RealFile(
            "dos.csv",
            "DOS (code page 850)",
            refusal="its encoding is not known; name it with --encoding",
            content="text,label\nTrès déçu,praise\n".encode("cp850"),
        ),
        RealFile(
            "mac.csv",
            "old Macs, named; lines end with carriage returns",
            ["Très déçu", "Große Hülle"],
            ["praise", "size"],
            flags={"encoding": "mac_roman"},
            content="text,label\rTrès déçu,praise\rGroße Hülle,size\r".encode("mac_roman"),
        ),
        RealFile(
            "binary.csv",
            "a file with zero bytes",
            refusal="it holds zero bytes",
            content=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        ),
        RealFile("paper.csv", "a PDF file", refusal="it is a PDF file", content=b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"),
        RealFile(
            "pointer.csv",
            "a file that Git LFS has not fetched",
            refusal="fetch the file with git lfs pull",
            content="version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
        ),
        RealFile(
            "table.csv.zip",
            "a ZIP archive",
            refusal="unpack archives, and save spreadsheets as CSV",
            content=b"PK\x03\x04",
        ),
        RealFile("workbook.csv", "an Excel workbook named .csv", refusal="it is an Excel workbook or ZIP archive"),
    ],
    "Rows and columns": [
        RealFile("blank_rows.csv", "rows of separators at the end", note="2 rows without any content"),
        RealFile("empty_columns.csv", "empty columns at the end"),
        RealFile("index_column.csv", "the index that pandas writes"),
        RealFile("same_names.csv", "two columns of one name", note="one is read as 'label.1'"),
        RealFile(
            "ragged.csv",
            "rows with fewer fields than the header",
            TWO,
            TWO_LABELS,
            note="1 row with fewer fields than the header, the first in line 3",
            content="text,label,day\nBlack screen,technical,1\nBilled twice,billing\n",
        ),
        RealFile(
            "title.csv",
            "lines above the header",
            refusal="which has 1 (# made in May); delete lines above the header",
            content="# made in May\n\ntext,label\nFine,praise\n",
        ),
        RealFile(
            "headless.csv",
            "no header",
            refusal="'billing' in its first line is a label; add a line such as text,label",
            content="Billed twice,billing\nBlack screen,technical\nBilled again,billing\n",
        ),
        RealFile("missing_key.jsonl", "a row without a key", refusal="row 1 has no 'label', only text (line 2)"),
        RealFile("number_as_text.jsonl", "a number as a text", refusal="row 1 of column 'text' holds 404"),
        RealFile("swapped.jsonl", "columns `text` and `label`, the label longer", refusal="row 1 of column 'text'"),
        RealFile(
            "null_text.jsonl",
            "a null text; it is dropped as an empty one is",
            note="1 null in column 'text'",
            texts=["", "Black screen", "Fine"],
            labels=["praise", "technical", "praise"],
        ),
    ],
    "Quotation marks": [
        RealFile("space_before_quote.csv", "spaces before quotation marks", note="spaces around quotation marks"),
        RealFile(
            "space_after_quote.csv",
            "spaces after quotation marks",
            ['Billed "twice" , again', 'Fine """ , x'],
            TWO_LABELS,
            note="spaces around quotation marks",
            content='text,label\n"Billed ""twice"" , again" ,technical\n "Fine """""" , x" , "billing" \n',
        ),
        RealFile(
            "apostrophes.csv",
            "apostrophes instead of quotation marks",
            ["'Black screen'", "'Billed twice'"],
            TWO_LABELS,
            note="has cells in apostrophes, which are kept",
            content="text,label\n'Black screen',technical\n'Billed twice',billing\n",
        ),
        RealFile(
            "backslash.csv",
            "backslashes before quotation marks",
            refusal="line 2 has a stray quotation mark",
            note='if it stands for ", give --quoting backslash',
            content=BACKSLASHES,
        ),
        RealFile(
            "backslash.csv",
            "the same, named",
            ['He said "no", twice', 'A "good" one'],
            TWO_LABELS,
            flags={"quoting": "backslash"},
            content=BACKSLASHES,
        ),
        RealFile(
            "several_lines.csv",
            "quoted texts of several lines",
            texts=["The screen\nstays black", "Hello,\nI was billed twice", "Works,\nas it should", "Fine"],
        ),
        RealFile("stray_quote.tsv", "stray ones", refusal="the row from line 3 to 5 has a stray quotation mark"),
        RealFile(
            "stray_quote.tsv",
            "stray ones, as plain text",
            texts=["The screen stays black", '"I was billed twice', "Works", '"Fine so far'],
            flags=NO_QUOTES,
        ),
        RealFile(
            "stray_quote_swallows.csv",
            "two stray ones that together swallow rows",
            refusal="opens in line 3 and closes in line 6 swallows the rows between",
        ),
        RealFile("open_quote.csv", "one that is never closed", refusal="from line 3 to 4 has a stray quotation mark"),
        RealFile("quoted_word.csv", "a quoted word at the start", refusal="line 2 has a stray quotation mark"),
        RealFile(
            "quoted_word.csv",
            "a quoted word at the start, as plain text",
            texts=['"Black" screen', "Works"],
            labels=["technical", "praise"],
            flags=NO_QUOTES,
        ),
    ],
    "Labels": [
        RealFile(
            "written_numbers.csv",
            "numbers and truth values in CSV stay as they are written",
            texts=["0800", "1e3", "TRUE", "00001"],
            labels=["00001", "007", "00001", "1e3"],
        ),
        RealFile(
            "decimal_comma.csv",
            "numbers with a decimal comma",
            texts=["Black screen", "Works", "Fine"],
            labels=[0.5, 4.75, 5.0],
            note="read as decimal numbers",
        ),
        RealFile("lists.jsonl", "lists of labels", texts=THREE, labels=[*SEVERAL[:2], []]),
        RealFile(
            "stringified_lists.csv",
            "lists of labels as text",
            texts=THREE,
            labels=[*SEVERAL[:2], []],
            note="are read as lists",
        ),
        RealFile("numpy_lists.csv", "NumPy's lists as text", refusal="a list without commas"),
        RealFile(
            "vectors.jsonl", "vectors of zeros and ones", refusal="name its 3 labels in order with --label_names"
        ),
        RealFile("vectors.jsonl", "the same, named", texts=THREE, labels=SEVERAL, flags=NAMES),
        RealFile("truth_vectors.jsonl", "vectors of truth values", refusal="name its 2 labels in order"),
        RealFile(
            "texts.jsonl",
            "vectors of zeros and ones as text, named",
            TWO,
            [["technical"], ["billing", "praise"]],
            flags=NAMES,
            content=vectors('["0", "1", "0"]', '["1.0", "0", "True"]'),
        ),
        RealFile(
            "floats.jsonl",
            "vectors of decimal numbers, named",
            TWO,
            [["technical"], ["billing", "praise"]],
            flags=NAMES,
            content=vectors("[0.0, 1.0, 0.0]", "[1.0, 0.0, 1.0]"),
        ),
        RealFile(
            "gap.jsonl",
            "a vector with a gap",
            refusal="row 1 of column 'labels' holds [1, None, 1] instead of a vector",
            flags=NAMES,
            content=vectors("[0, 1, 0]", "[1, null, 1]"),
        ),
        RealFile(
            "objects.jsonl",
            "an object of labels",
            refusal="row 0 of column 'labels' holds {'a': 1.0} instead of a label",
            content=vectors('{"a": 1.0}', '{"a": 0.0}'),
        ),
        RealFile("broken_vector.jsonl", "a vector of another width", refusal="row 1 of column 'labels'", flags=NAMES),
        RealFile("vectors_as_text.csv", "vectors as text", refusal="give its separator with --label_separator"),
        RealFile(
            "vectors_as_text.csv",
            "vectors as text, named",
            texts=THREE,
            labels=SEVERAL,
            flags={**NAMES, "label_separator": ","},
        ),
        RealFile(
            "one_column_per_label.csv",
            "one column per label, as `pandas.get_dummies` writes",
            texts=THREE,
            labels=SEVERAL,
            note="one column of zeros and ones per label: billing, technical, praise",
        ),
        RealFile(
            "text_between.csv",
            "the same, the text between the labels",
            TWO,
            [["billing"], ["praise"]],
            note="one column of zeros and ones per label: billing, praise",
            content="billing,text,praise\n1.0,Black screen,0.0\n0.0,Billed twice,1.0\n",
        ),
        RealFile(
            "known_name.csv",
            "one column per label, one of them named like a column of labels",
            refusal="cannot be guessed; name one of tweet, question, topic",
            content="tweet,question,topic\nBlack screen,0,1\nBilled twice,1,0\n",
        ),
        RealFile(
            "joined.csv",
            "several labels in one cell",
            TWO,
            ["billing; technical", "billing"],
            note="'billing; technical' is read as one label; --label_separator ';'",
            content="text,label\nBlack screen,billing; technical\nBilled twice,billing\n",
        ),
        RealFile(
            "not_available.csv",
            "a word among decimal numbers",
            THREE,
            ["4.5", "n/a", "2.5"],
            note="Labels such as '4.5' are read as classes, not as numbers, because of 'n/a'",
            content="text,label\nBlack screen,4.5\nBilled twice,n/a\nFine,2.5\n",
        ),
        RealFile(
            "missing_words.csv",
            "NA, None and null are words",
            ["NA", "null", "None"],
            ["None", "NA", "null"],
            content="text,label\nNA,None\nnull,NA\nNone,null\n",
        ),
        RealFile(
            "zeros_and_ones.csv",
            "one column per label, named",
            texts=["Nice", "Stupid idea", "You fool"],
            labels=[[], ["toxic"], ["toxic", "insult"]],
            flags={"label_column": "toxic,insult"},
        ),
    ],
    "JSON, Parquet and datasets": [
        RealFile("records.json", "a list of objects, as pandas writes"),
        RealFile("data_object.json", '`{"data": [...]}`'),
        RealFile("pandas_columns.json", "columns, as pandas writes by default"),
        RealFile("pandas_split.json", "columns and data, as pandas writes with orient='split'"),
        RealFile(
            "rows_by_number.json",
            "rows by number, as pandas writes with orient='index'",
            TWO,
            TWO_LABELS,
            content='{"0": {"text": "Black screen", "label": "technical"}, '
            '"1": {"text": "Billed twice", "label": "billing"}}',
        ),
        RealFile(
            "splits.json",
            "several tables in one object",
            refusal="it holds several tables: train, test",
            content='{"train": [{"text": "a", "label": "x"}], "test": [{"text": "b", "label": "y"}]}',
        ),
        RealFile(
            "lines.ndjson",
            "an object per line, ending .ndjson",
            ["Fine"],
            ["praise"],
            content='{"text": "Fine", "label": "praise"}\n',
        ),
        RealFile(
            "keys.jsonl",
            "a key twice in one object",
            refusal="line 1 is not JSON: an object has several values for one of the keys text, label",
            content='{"text": "Fine", "label": "praise", "label": "size"}\n',
        ),
        RealFile("class_label.parquet", "class numbers with the names that `datasets` stores"),
        RealFile("saved_dataset", "a folder of `save_to_disk`"),
        RealFile("saved_splits", "a folder of `save_to_disk` with splits", note="train is read"),
    ],
}


def files_page() -> str:
    """The page that says of each kind of file how it is read."""
    parts = [
        "# Files that are read\n\n`python -m tests.support.real_files` writes this page from the cases of "
        "`tests/real_files`. Text files with a text per line, CSV, TSV, JSON lines, JSON, Parquet, folders of "
        "`save_to_disk`, glob patterns, URLs and Hub datasets are read. Text files may be compressed (.gz, .xz, .bz2, "
        ".zst). Every cell of a CSV file is text, as it is written; line breaks in it become newlines. A file that is "
        "not UTF-8, or has another separator than its ending says, is named on stderr with what was taken; "
        "`--separator`, `--encoding` and `--quoting` decide where a file does not show it.\n"
    ]
    for title, files in FILES.items():
        parts.append(f"\n## {title}\n\n| file | flags | result |\n| --- | --- | --- |\n")
        for file in files:
            flags = " ".join(f"`--{name} {value}`" for name, value in file.flags.items())
            result = f"refused: … {file.refusal} …" if file.refusal else "read"
            result += f"; said: … {file.note} …" if file.note else ""
            parts.append(f"| {file.what} | {flags} | {result} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(files_page(), encoding="utf-8")
