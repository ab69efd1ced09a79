"""JSON files: one object per line, a list of objects, a list inside an object, or columns."""

import json
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from asterisk.core.errors import UserError, listed, short
from asterisk.data.text_files import bounded_lines, open_text, say


def json_rows(file: str, kind: str, encoding: str) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Yield the objects of a file, each with its line number if the file has one object per line.

    Args:
        file: Path or URL.
        kind: ".jsonl", or ".json", which may also hold a single value.
        encoding: Name of a codec; detected if empty.

    Raises:
        UserError: A line or item is not a JSON object.
        ValueError: The file is not JSON.
    """
    with open_text(file, encoding, may_be_legacy=False) as (text, start):
        if kind == ".json" and not _has_object_per_line(start):
            for number, item in enumerate(_items(file, parse_json(text.read()))):
                yield None, _as_object(f"{file}: item {number}", item)
            return
        for number, line in enumerate(bounded_lines(text), 1):
            if line.strip():
                where = f"{file}: line {number}"
                try:
                    value = parse_json(line)
                except (ValueError, RecursionError) as error:
                    reason = (
                        f"{error.msg} at character {error.pos + 1}" if isinstance(error, JSONDecodeError) else error
                    )
                    raise UserError(
                        f"{where} is not JSON: {reason}; write one object per line, or name the file .json if it "
                        "holds a list."
                    ) from None
                yield number, _as_object(where, value)


def parse_json(text: str) -> Any:
    """Parse JSON; raise a ValueError for invalid JSON, a repeated key, or a lone surrogate, which cannot be stored."""
    value = _DECODER.decode(text)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"an object has several values for one of the keys {listed(value)}")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct_keys)


def _has_object_per_line(start: str) -> bool:
    """Guess from the start of a file whether it has one object per line."""
    start = start.lstrip()
    if start[:1] not in ("[", "{"):
        return True  # not a table; line 1 is refused later
    if start[0] == "[":
        return False
    first, _, rest = start.partition("\n")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        # Either one object spans several lines, or only the first line is damaged.
        return rest.lstrip().startswith("{")
    return bool(rest.strip()) or not isinstance(_table_in(value), list)


def _items(file: str, value: Any) -> list[Any]:
    """Return the rows of a file that holds one value."""
    if not isinstance(value, dict):
        return value
    table = _table_in(value)
    others = [name for name, item in value.items() if isinstance(item, (list, dict)) and item is not table]
    if table and others and any(item is table for item in value.values()):
        say(f"{file} also holds {listed(others)}; only the table is read.")
    return table or [value]


def _table_in(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows of a table inside an object, such as {"data": [...]} or pandas' formats; None without a table.

    Raises:
        ValueError: There are several tables, or rows cannot be told from columns.
    """
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
    lists = [items for items in value.values() if isinstance(items, list)]
    tables = [items for items in lists if items and all(isinstance(item, dict) for item in items)]
    if len(tables) > 1:
        names = [name for name, items in value.items() if any(items is table for table in tables)]
        raise ValueError(f"it holds several tables: {listed(names)}; write each to a separate file")
    if tables:
        return tables[0]
    rows = [row for row in value.values() if isinstance(row, dict)]
    if len(value) > 1 and len(rows) == len(value):
        if all(map(str.isdecimal, value)) or all("text" in row for row in rows):
            return rows
        if "text" not in value and not all(key.isdecimal() for row in rows for key in row):
            raise ValueError("it holds an object of objects, which may be rows or columns; write a list of objects")
    columns = [list(column.values()) if isinstance(column, dict) else column for column in value.values()]
    if len(columns) > 1 and all(isinstance(column, list) for column in columns) and len({*map(len, columns)}) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return None


def _as_object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must hold a JSON object, not {short(value)}.")
    return value
