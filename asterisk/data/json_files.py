"""JSON files: an object per line, a list of objects, a list inside an object, or columns."""

import json
from collections.abc import Iterator
from typing import Any

from asterisk.core.errors import UserError
from asterisk.data.text_files import bounded_lines, open_text


def json_rows(file: str, kind: str, encoding: str) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """The objects of a file, each with the number of its line where the file has one object per line.

    Args:
        file: Path or URL.
        kind: ".jsonl", or ".json", which may also hold one value that is read whole.
        encoding: Name of a codec; found in the file if empty.

    Raises:
        UserError: A line or item is no JSON object.
        ValueError: The file is no JSON.
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
                    raise UserError(f"{where} is not JSON: {error}.") from None
                yield number, _as_object(where, value)


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: The text is no JSON, or a string holds half of a surrogate pair, which cannot be stored.
    """
    value = json.loads(text)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _has_object_per_line(start: str) -> bool:
    """Whether a file that starts so has an object per line, as far as can be seen."""
    start = start.lstrip()
    if start[:1] not in ("[", "{"):
        return True  # no table at all; line 1 is refused
    if start[0] == "[":
        return False
    first, _, rest = start.partition("\n")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        # An object that is broken over lines, or a broken first line among others that are whole.
        return rest.lstrip().startswith("{")
    return bool(rest.strip()) or not isinstance(_table_in(value), list)


def _items(file: str, value: Any) -> list[Any]:
    """The rows of a file that holds one value."""
    if isinstance(value, dict):
        value = _table_in(value) or [value]
    return value


def _table_in(value: dict[str, Any]) -> list[Any] | None:
    """The rows of an object that holds a table, such as {"data": [...]}, or columns as pandas writes them."""
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
    lists = [items for items in value.values() if isinstance(items, list)]
    tables = [items for items in lists if items and all(isinstance(item, dict) for item in items)]
    if len(tables) == 1:
        return tables[0]
    columns = [list(column.values()) if isinstance(column, dict) else column for column in value.values()]
    if len(columns) > 1 and all(isinstance(column, list) for column in columns) and len({*map(len, columns)}) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return None


def _as_object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        shown = repr(value)
        raise UserError(f"{where} must hold a JSON object, not {shown if len(shown) <= 80 else shown[:80] + '…'}.")
    return value
