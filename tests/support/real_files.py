"""Tables as real tools write them, what is read from each, and the page that lists them.

    python -m tests.support.real_files

writes docs/files.md.
"""

from tests.support.paths import REPOSITORY
from tests.support.real_file import TEXTS, TWO, TWO_LABELS, RealFile
from tests.support.real_labels import FILES_OF_LABELS

FOLDER = REPOSITORY / "tests" / "real_files" / "files"
PAGE = REPOSITORY / "docs" / "files.md"

BACKSLASHES = 'text,label\n"He said \\"no\\", twice",technical\nA \\"good\\" one,billing\n'
MARKED = b"\xef\xbb\xbf" + "text,label\nTrès déçu,praise\n".encode("cp1252")
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
        RealFile(
            "polish.csv",
            "Central European Windows: Polish",
            ["Proszę o zwrot pieniędzy za zamówienie", "Chciałbym zmienić hasło, żeby móc płacić"],
            ["refund", "password"],
            note="read as cp1250, with words such as 'Proszę'",
            content=(
                "text,label\nProszę o zwrot pieniędzy za zamówienie,refund\n"
                '"Chciałbym zmienić hasło, żeby móc płacić",password\n'
            ).encode("cp1250"),
        ),
        RealFile(
            "czech.csv",
            "Central European Windows: Czech, not named",
            refusal="such as cp1250 (Central Europe)",
            content="text,label\nPříliš žluťoučký kůň,horse\n".encode("cp1250"),
        ),
        RealFile(
            "turkish.csv",
            "Turkish Windows",
            ["Şifremi değiştirmek istiyorum", "Ürün çok güzel"],
            ["password", "praise"],
            note="read as cp1254, with words such as 'Şifremi'",
            content=("text,label\nŞifremi değiştirmek istiyorum,password\nÜrün çok güzel,praise\n").encode("cp1254"),
        ),
        RealFile(
            "hungarian.csv",
            "Central European Windows: Hungarian",
            ["Köszönöm, a képernyő gyönyörű", "Kétszer vonták le a díjat"],
            ["praise", "billing"],
            note="read as cp1250, with words such as 'képernyő'",
            content=('text,label\n"Köszönöm, a képernyő gyönyörű",praise\nKétszer vonták le a díjat,billing\n').encode(
                "cp1250"
            ),
        ),
        RealFile(
            "mark.csv",
            "Western European Windows after the byte order mark of UTF-8",
            refusal="is not UTF-8 text",
            content=MARKED,
        ),
        RealFile(
            "mark.csv",
            "the same, named",
            ["Très déçu"],
            ["praise"],
            flags={"encoding": "cp1252"},
            content=MARKED,
        ),
        RealFile(
            "utf16_tab.csv", "Excel's Unicode text, its encoding named", flags={"encoding": "utf-16-le"}, note="tab"
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
        RealFile(
            "packed.csv",
            "a compressed file without its suffix",
            refusal="it is a Zstandard file, not text; add .zst to its name",
            content=b"\x28\xb5\x2f\xfd\x04\x00",
        ),
        RealFile(
            "unpacked.csv.gz",
            "an unpacked file that kept the suffix",
            refusal="its name should not end in .gz",
            content="text,label\nFine,praise\n",
        ),
        RealFile(
            "page.csv",
            "a web page",
            refusal="it is a web page, not a file of texts",
            content="<!DOCTYPE html>\n<html><title>Sign in</title></html>\n",
        ),
        RealFile(
            "lines.csv",
            "JSON lines",
            refusal="it holds JSON; name it .jsonl if it has an object per line",
            content='{"text": "Fine", "label": "praise"}\n{"text": "Billed twice", "label": "billing"}\n',
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
        RealFile(
            "joined_files.csv",
            "files joined with their headers and byte order marks",
            TWO,
            TWO_LABELS,
            note="has 1 row that repeats the column names; skipped",
            content="\ufeff\ufefftext,label\nBlack screen,technical\n\ufefftext,label\nBilled twice,billing\n",
        ),
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
        RealFile(
            "one_column.csv",
            "whole rows in quotation marks",
            refusal="has one column, 'text,label', and none of labels; add one, or give another --separator",
            content='"text,label"\n"Fine,praise"\n"Billed twice,billing"\n',
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
        RealFile(
            "stray_quotes_of_labels.tsv",
            "two stray ones before labels",
            refusal="opens in line 2 and closes in line 3 swallows the rows between",
            content='text\tlabel\nFine\t"praise\nBilled twice\tpraise"\nWorks\tpraise\n',
        ),
        RealFile(
            "label_of_lines.tsv",
            "a label of several lines",
            ["Fine", "Works"],
            ["praise\nBilled twice\tbilling", "works"],
            note="one label of several lines; a stray quotation mark may have joined them",
            content='text\tlabel\nFine\t"praise\nBilled twice\tbilling"\nWorks\tworks\n',
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
    **FILES_OF_LABELS,
}


def files_page() -> str:
    """The page that says of each kind of file how it is read."""
    parts = [
        "# Files that are read\n\n`python -m tests.support.real_files` writes this page from the cases of "
        "`tests/real_files`. The programs read text files with one text per line, CSV, TSV, JSON lines, JSON, "
        "Parquet, folders of `save_to_disk`, glob patterns, URLs and Hub datasets. Text files may be compressed "
        "(.gz, .xz, .bz2, .zst). Every cell of a CSV file stays the text in the file, with newlines as line "
        "breaks. If a file is not UTF-8, or its separator does not match its suffix, a note on stderr names the "
        "detected encoding or separator; `--separator`, `--encoding` and `--quoting` override the detection.\n"
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
