"""CSV and TSV files: separator, quoting and rows. Every cell stays the text that the file holds."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from asterisk.core.errors import UserError, listed
from asterisk.data.arguments import FileFormat
from asterisk.data.text_files import LONGEST_LINE, bounded_lines, open_text, say

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
QUOTINGS = ("", "none", "double", "backslash")

# Prefix of the names given to unnamed columns, as in pandas.
UNNAMED = "Unnamed: "

# Lines from which the separator is detected.
SAMPLE_LINES = 200

# A first line for Excel that names the separator.
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\s]*', re.IGNORECASE)

# Distinct values stored per column, and multi-line rows checked against them.
MAX_VALUES, MAX_MULTILINE_ROWS = 10_000, 1_000

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")

# The default is too small for long texts.
csv.field_size_limit(LONGEST_LINE)

QUOTING_HINT = "use --quoting none to read quotation marks as plain text"


class Dialect(NamedTuple):
    """How the lines of a file are split into fields."""

    separator: str
    quoting: str = ""
    skips_spaces: bool = False

    def rows(self, lines: Iterable[str], strict: bool) -> Iterator[list[str]]:
        """Yield the fields of each row; `line_num` of the returned reader counts the lines."""
        if self.skips_spaces:
            # An odd number of quotation marks after text ends a quoted cell. Marks after a space may open a cell; if
            # they end one, the row is refused.
            mark = re.escape(self.separator)
            after_quotes = re.compile(rf'(?<=[^\s"{mark}])("(?:"")*) +(?={mark}|$)')
            lines = (after_quotes.sub(r"\1", line) for line in lines)
        return csv.reader(
            lines,
            delimiter=self.separator,
            quoting=csv.QUOTE_NONE if self.quoting == "none" else csv.QUOTE_MINIMAL,
            escapechar="\\" if self.quoting == "backslash" else None,
            skipinitialspace=self.skips_spaces,
            strict=strict,
        )


def delimited_rows(
    file: str, kind: str, columns: Sequence[str], file_format: FileFormat
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV or TSV file, each with the number of its first line, counted from 1.

    Args:
        file: Path or URL.
        kind: ".csv" or ".tsv", which sets the default separator.
        columns: The wanted columns, which help to detect the separator.
        file_format: Overrides for the detected file format.

    Raises:
        ValueError: A row has more fields than the header, or a quotation mark is stray.
    """
    with open_text(file, file_format.encoding) as (text, start):
        if re.match(r'[\s\[]*\{\s*"', start):
            raise ValueError("it holds JSON; name it .jsonl if it has an object per line, and .json otherwise")
        lines = bounded_lines(text, f"a quotation mark may be left open; {QUOTING_HINT}")
        sample = start.split("\n")[:SAMPLE_LINES]
        skipped = 0
        named = SEPARATOR_LINE.fullmatch(sample[0])
        if named:
            next(lines)
            sample, skipped = sample[1:], 1
        dialect = find_dialect(file, kind, sample, columns, file_format, named[1] if named else "")
        yield from _checked_rows(file, dialect, lines, skipped)


def find_dialect(
    file: str, kind: str, lines: Sequence[str], columns: Sequence[str], file_format: FileFormat, named: str = ""
) -> Dialect:
    """Detect a file's dialect from its first lines; print a note on stderr if it is unusual.

    Args:
        file: The file's name, for the note.
        kind: ".csv" or ".tsv".
        lines: The first lines, starting with the header.
        columns: The wanted columns.
        file_format: The user's separator and quoting.
        named: The separator that the file itself names.

    Raises:
        UserError: The user's separator or quoting is invalid.
    """
    if file_format.quoting not in QUOTINGS:
        raise UserError(f"--quoting must be none, double or backslash, not {file_format.quoting!r}.")
    quoting = file_format.quoting
    usual = "\t" if kind == ".tsv" else ","
    separator = SEPARATORS.get(file_format.separator, file_format.separator).replace("\\t", "\t")
    if len(separator) > 1 or separator in ('"', "\n", "\r"):
        raise UserError(f"--separator must be {', '.join(SEPARATORS)} or one character, not {separator!r}.")
    if not separator:
        # The usual separator comes first, so that it wins ties.
        candidates = [named] if named else [usual, *(char for char in SEPARATORS.values() if char != usual)]
        separator = max(candidates, key=lambda char: _rate_dialect(Dialect(char, quoting), lines, columns))
        if not _rate_dialect(Dialect(separator, quoting), lines, columns)[0]:
            separator = named or usual
    mark = re.escape(separator)
    spaced = re.compile(rf'(?:^|{mark})(?: +"(?:[^"]|"")*" *|"(?:[^"]|"")*" +)(?:{mark}|$)', re.MULTILINE)
    has_spaces = quoting != "none" and separator != " " and bool(spaced.search("\n".join(lines)))
    if has_spaces:
        say(f"{file} has spaces around quotation marks; these, and leading spaces in its cells, are dropped.")
    if not quoting and any('\\"' in line for line in lines):
        say(f'{file} has \\" in its cells, which is kept; if it stands for ", give --quoting backslash.')
    columns_of_cells = zip(*_sample_rows(Dialect(separator, quoting), lines)[1:], strict=False)
    if any(all(re.fullmatch("'.+'", cell) for cell in cells) for cells in columns_of_cells):
        say(f"{file} has cells in apostrophes, which are kept.")
    if not file_format.separator and separator != usual:
        name = next((name for name, char in SEPARATORS.items() if char == separator), repr(separator))
        say(f"{file} is read with the separator {name} (--separator overrides it).")
    return Dialect(separator, quoting, has_spaces)


def _rate_dialect(dialect: Dialect, lines: Sequence[str], columns: Sequence[str]) -> tuple[bool, bool, float]:
    """Rate a dialect: header has several columns, header has the wanted ones, share of rows with as many fields."""
    header, *rows = list(_sample_rows(dialect, lines)) or [[]]
    names = {name.strip() for name in header}
    if len(header) < 2:
        return False, False, 0.0
    agreement = sum(len(row) == len(header) for row in rows) / len(rows) if rows else 1.0
    return True, bool(columns) and names.issuperset(columns), agreement


def _sample_rows(dialect: Dialect, lines: Sequence[str]) -> list[list[str]]:
    try:
        return [row for row in dialect.rows(lines, strict=False) if row]
    except csv.Error:
        return []


def _checked_rows(
    file: str, dialect: Dialect, lines: Iterator[str], skipped: int
) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] = []
    written_header: list[str] = []
    swallowed = SwallowedRows(dialect.separator)
    blank = repeats = short_rows = first_short = 0
    for first, last, row in _numbered_rows(dialect, lines, skipped):
        if not row:
            continue
        if not header:
            written_header = _bare(row)
            header = _column_names(file, written_header)
            continue
        if len(header) > 1 and _bare(row) == written_header:
            repeats += 1
            continue
        if len(row) > len(header):
            if any(cell.strip() for cell in row[len(header) :]):
                raise ValueError(
                    f"line {first:,} has {len(row)} fields, more fields than the header, which has {len(header)} "
                    f"({listed(header)}); delete lines above the header, quote text that contains the separator, or "
                    "give another --separator"
                )
            del row[len(header) :]
        if len(header) > 1 and not any(cell.strip() for cell in row):
            blank += 1
            continue
        if any(not name.startswith(UNNAMED) for name in header[len(row) :]):
            short_rows += 1
            first_short = first_short or first
        row += [""] * (len(header) - len(row))
        if not dialect.quoting:
            swallowed.add(first, last, row)
        yield first, dict(zip(header, row, strict=True))
    swallowed.refuse()
    if swallowed.multiline and len(header) == 1:
        first, last = swallowed.multiline
        say(f"{file} has texts of several lines, the first from line {first:,} to {last:,}; {QUOTING_HINT}.")
    if repeats:
        say(f"{file} has {_rows(repeats)} that repeat{'' if repeats > 1 else 's'} the column names; skipped.")
    if blank:
        say(f"{file} has {_rows(blank)} without any content, which are skipped.")
    if short_rows:
        say(
            f"{file} has {_rows(short_rows)} with fewer fields than the header, the first in line {first_short:,}; "
            "missing fields are read as empty."
        )


def _bare(row: list[str]) -> list[str]:
    """Return the cells without white space and byte order marks around them, which joined files have in the middle."""
    return [cell.strip().strip("\ufeff") for cell in row]


def _rows(number: int) -> str:
    return f"{number:,} row{'s' if number > 1 else ''}"


def _numbered_rows(dialect: Dialect, lines: Iterator[str], skipped: int) -> Iterator[tuple[int, int, list[str]]]:
    """Yield each row with the numbers of its first and last line."""
    reader = dialect.rows(lines, strict=True)
    last = skipped
    while True:
        first = last + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = skipped + reader.line_num  # type: ignore[attr-defined]
            where = f"line {first:,}" if last == first else f"the row from line {first:,} to {last:,}"
            if not any(word in str(error) for word in ("expected after", "unexpected end", "field limit")):
                raise ValueError(f"{where} is damaged ({error})") from None
            raise ValueError(
                f"{where} has a stray quotation mark: it opens a cell, but none closes the cell before a separator; "
                f"double the mark inside quotes, or {QUOTING_HINT}"
            ) from None
        last = skipped + reader.line_num  # type: ignore[attr-defined]
        yield first, last, row


def _column_names(file: str, header: list[str]) -> list[str]:
    """Make column names distinct as pandas does: number empty ones, and add a suffix to repeated ones."""
    names: list[str] = []
    for place, name in enumerate(header):
        if name in names:
            renamed = next(new for number in range(1, len(header) + 1) if (new := f"{name}.{number}") not in names)
            say(f"{file} has several columns {name!r}; one is read as {renamed!r}.")
            name = renamed
        names.append(name or f"{UNNAMED}{place}")
    return names


class SwallowedRows:
    """Detects quoted cells that swallow rows.

    A stray quotation mark at the start of a cell quotes everything up to the next mark. Such a cell differs from a
    genuine multi-line text: its lines, split into fields, give values that occur elsewhere in their columns, or
    numbers in columns of numbers. Half of the values of other columns suffice, or all of the cell's own column.
    """

    def __init__(self, separator: str):
        self.multiline: tuple[int, int] | None = None
        self._separator = separator
        self._values: dict[int, set[str]] = defaultdict(set)
        self._suspects: list[tuple[int, int, int, list[tuple[int, str]]]] = []

    def add(self, first: int, last: int, row: list[str]) -> None:
        """Record a row that spans the lines `first` to `last`."""
        if last > first:
            self.multiline = self.multiline or (first, last)
        for place, cell in enumerate(row):
            if "\n" in cell:
                is_counted = len(row) > 1 and len(self._suspects) < MAX_MULTILINE_ROWS
                if is_counted and (values := self._as_rows(place, cell, len(row))):
                    self._suspects.append((first, last, place, values))
            elif cell and len(self._values[place]) < MAX_VALUES:
                self._values[place].add(cell)

    def _as_rows(self, place: int, cell: str, width: int) -> list[tuple[int, str]]:
        """Return the values in a cell's lines with their columns; none unless every line splits as a row."""
        start, *middle, end = (line.split(self._separator) for line in cell.split("\n"))
        if len(start) != width - place or len(end) != place + 1 or any(len(line) != width for line in middle):
            return []
        return [*enumerate(start, place), *(value for line in middle for value in enumerate(line)), *enumerate(end)]

    def refuse(self) -> None:
        """Raise a ValueError that names the lines of the first cell that swallows rows."""
        for first, last, place, values in self._suspects:
            times = Counter(values)
            own = [value for value in values if value[0] == place]
            others = [value for value in values if value[0] != place and value[1].strip()]
            known = sum(times[value] > 1 or self._is_known(*value) for value in others)
            if (known and 2 * known >= len(others)) or all(self._is_known(*value) for value in own):
                raise ValueError(
                    f"a quotation mark that opens in line {first:,} and closes in line {last:,} swallows the rows "
                    f"between; {QUOTING_HINT}, or --quoting double to read the cell as one text"
                )

    def _is_known(self, column: int, value: str) -> bool:
        values = self._values[column]
        if value in values:
            return True
        return bool(NUMBER.fullmatch(value)) and all(map(NUMBER.fullmatch, values)) and bool(values)
