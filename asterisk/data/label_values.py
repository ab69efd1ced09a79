"""Parse a column's values as labels: classes, lists of classes, vectors of zeros and ones, or numbers."""

import ast
import json
import re
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from asterisk.core.errors import UserError, short
from asterisk.data.labels import MULTI, REGRESSION, SINGLE
from asterisk.data.text_files import say

# Heads compute in single precision.
LARGEST_NUMBER = 1e38

# Codes such as 007 are classes, not numbers.
LEADING_ZERO = re.compile(r"\s*0\d")
DECIMAL, NUMERAL = re.compile(r"[+-]?[\d.,]*[.,]\d+%?"), re.compile(r"[+-]?[\d.,]+%?")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?\s*")
THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})*\s*")
VECTOR_AS_TEXT = re.compile(r"\s*[01](\s*[,; |\t]\s*[01])+\s*")
LIST_AS_TEXT = re.compile(r"\s*(\[.*\]|(array|tensor|set|frozenset)?\(.*\)|\{.*\})\s*", re.DOTALL)
# As NumPy prints an array: ['a' 'b'], [0 1 0] or [ True False].
LIST_WITHOUT_COMMAS = re.compile(r"['\"]\s+['\"]|\d\.?\s+\d|(True|False)\s+(True|False)")
# Signs of several labels in brackets, as in [a, b], {"a": 1} or array(['a']).
SEVERAL_IN_BRACKETS = re.compile(r"[,:]|\w\(")

TRUTH_VALUES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

# Creates the error for a row from its index and the problem with its value.
Refuse = Callable[[int, str], UserError]


def truth_of(value: Any) -> bool | None:
    """Return the truth value of 0, 1, a boolean, or the text of one; None for any other value."""
    return TRUTH_VALUES.get(str(value).strip().lower()) if isinstance(value, (str, Real)) else None


def labels_of_values(
    values: list[Any],
    refuse: Refuse,
    separator: str = "",
    names: Sequence[str] = (),
    *,
    is_written: bool = False,
    problem_type: str = "",
    has_vectors: bool | None = None,
) -> tuple[str, list[Any], bool]:
    """Parse a column's values as labels.

    Args:
        values: One value per row.
        refuse: Creates the error for a row.
        separator: Separator of the classes in a string that holds several.
        names: Names of the labels in vectors of zeros and ones, in order.
        is_written: Whether some values come from a CSV file, where numbers are text.
        problem_type: The required problem type; inferred by default.
        has_vectors: Whether the labels must be vectors of zeros and ones; inferred by default.

    Returns:
        The problem type, one label per row, and whether the values are vectors of zeros and ones.

    Raises:
        UserError: A value is not a label of that type.
    """
    values = _parse_lists(values, refuse)
    if separator:
        values = [value.split(separator) if isinstance(value, str) else value for value in values]
    given = [value for value in values if value is not None and value != "" and str(value).strip()]
    if given and all(isinstance(value, str) and VECTOR_AS_TEXT.fullmatch(value) for value in given):
        raise refuse(
            values.index(given[0]),
            f"holds {short(given[0])}, a vector of zeros and ones as text; give its separator with --label_separator "
            "and the names of its labels with --label_names A,B,C",
        )
    if has_vectors is None and problem_type in ("", MULTI):
        has_vectors = any(isinstance(value, list) for value in given) if names else _are_vectors(given)
    if has_vectors:
        return MULTI, _read_vectors(values, names, refuse), True
    if names:
        raise refuse(0, f"holds {short(values[0])}, but --label_names names the labels of vectors of zeros and ones")
    problem_type = problem_type or _infer_problem_type(given, separator, is_written)
    with_commas = [value for value in given if isinstance(value, str) and "," in value]
    if problem_type == REGRESSION and is_written and with_commas:
        values = [value.replace(",", ".") if isinstance(value, str) else value for value in values]
        say(f"Labels such as {short(with_commas[0])} are read as decimal numbers.")
    labels = [_label(value, problem_type, refuse, row) for row, value in enumerate(values)]
    if problem_type == SINGLE:
        _note_odd_classes(labels)
    return problem_type, labels, False


def _note_odd_classes(labels: Sequence[Any]) -> None:
    """Print a note on classes that look like several classes, or like numbers."""
    classes = dict.fromkeys(labels)
    for separator in ",;|":
        joined = (name for name in classes if separator in name)
        if name := next(
            (name for name in joined if any(part.strip() in classes for part in name.split(separator))), ""
        ):
            say(f"{short(name)} is read as one label; --label_separator '{separator}' reads it as several.")
    if name := next((name for name in classes if "\n" in name), ""):
        say(f"{short(name)} is read as one label of several lines; a stray quotation mark may have joined them.")
    decimals = [name for name in classes if DECIMAL.fullmatch(name)]
    if decimals and 2 * len(decimals) >= len(classes):
        other = next((f", because of {short(name)}" for name in classes if not NUMERAL.fullmatch(name)), "")
        say(f"Labels such as {short(decimals[0])} are read as classes, not as numbers{other}.")


def _parse_lists(values: list[Any], refuse: Refuse) -> list[Any]:
    """Parse strings that hold a list, tuple or set, such as "['billing']"; keep other values."""
    parsed, first = [], None
    for row, value in enumerate(values):
        if isinstance(value, str) and LIST_AS_TEXT.fullmatch(value):
            if value.lstrip().startswith("[") and LIST_WITHOUT_COMMAS.search(value):
                raise refuse(row, f"holds {short(value)}, a list without commas; write a list such as ['a', 'b']")
            if (items := _parse_list(value)) is not None:
                first, value = first or value, items
            elif SEVERAL_IN_BRACKETS.search(value):
                raise refuse(row, f"holds {short(value)}, which is no list that can be read; write one as ['a', 'b']")
        parsed.append(value)
    if first:
        say(f"Labels such as {short(first)} are read as lists.")
    return parsed


def _parse_list(text: str) -> list[Any] | None:
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        return list(value) if isinstance(value, (list, tuple)) else sorted(value) if isinstance(value, set) else None
    return None


def _are_vectors(values: Sequence[Any]) -> bool:
    """Return whether values look like vectors of zeros and ones rather than lists of classes.

    Lists of classes hold no booleans or decimal numbers, repeat no class, and differ in length or hold items other
    than 0 and 1.
    """
    if not all(isinstance(value, list) for value in values):
        return False
    items = [item for value in values for item in value]
    if not items or not all(isinstance(item, Real) or truth_of(item) is not None for item in items):
        return False
    if any(isinstance(item, (bool, float)) for item in items):
        return True
    if any(sum(truth_of(item) is truth for item in value) > 1 for value in values for truth in (False, True)):
        return True
    return len({len(value) for value in values}) == 1 and all(truth_of(item) is not None for item in items)


def _read_vectors(values: list[Any], names: Sequence[str], refuse: Refuse) -> list[list[str]]:
    """Return, for each row, the names of the labels whose entries are 1."""
    width = len(names) or max(len(value) for value in values if isinstance(value, list))
    labels = []
    for row, value in enumerate(values):
        entries = [truth_of(item) for item in value] if isinstance(value, list) else []
        if len(entries) != width or None in entries:
            raise refuse(row, f"holds {short(value)} instead of a vector of {width} zeros and ones")
        if not names:
            raise refuse(
                row,
                f"holds {short(value)}, a vector of zeros and ones; name its {width} labels in order with "
                "--label_names A,B,C, or write the labels of a text as a list of names",
            )
        labels.append([name for name, entry in zip(names, entries, strict=True) if entry])
    if unused := set(names).difference(*labels):
        say(f"No text has the labels {', '.join(sorted(unused))}.")
    return labels


def _infer_problem_type(given: Sequence[Any], separator: str, is_written: bool) -> str:
    if separator or any(isinstance(value, list) for value in given):
        return MULTI
    if is_written:
        given = list(map(str, given))  # a folder may also hold JSON, which has numbers
        has_commas = any("," in value for value in given) and all(map(DECIMAL_COMMA.fullmatch, given))
        has_commas = has_commas and not all(map(THOUSANDS.fullmatch, given))
        has_points = any("." in value for value in given) and all(_number(value) is not None for value in given)
        is_code = any(map(LEADING_ZERO.match, given))
        return REGRESSION if (has_commas or has_points) and not is_code else SINGLE
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in given)
    return REGRESSION if numbers and any(not isinstance(value, Integral) for value in given) else SINGLE


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _label(value: Any, problem_type: str, refuse: Refuse, row: int) -> str | list[str] | float:
    if problem_type == SINGLE:
        return _class(value, refuse, row)
    if problem_type == REGRESSION:
        number = _number(value)
        if number is None or not abs(number) <= LARGEST_NUMBER:
            limits = f"{-LARGEST_NUMBER} and {LARGEST_NUMBER}"
            raise refuse(row, f"holds {short(value)} instead of a number between {limits}")
        return number
    if not isinstance(value, list):
        raise refuse(
            row,
            f"holds {short(value)} instead of a list of labels; --label_separator names the separator of labels in "
            "a string",
        )
    classes = [item for item in value if not (isinstance(item, str) and not item.strip())]
    return list(dict.fromkeys(_class(item, refuse, row) for item in classes))


def _class(value: Any, refuse: Refuse, row: int) -> str:
    if not isinstance(value, (str, Integral)) or not str(value).strip():
        raise refuse(row, f"holds {short(value)} instead of a label (a word or a whole number)")
    return str(value).strip()
