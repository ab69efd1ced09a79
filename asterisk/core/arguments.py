"""What every entry point does alike: recipe and flags into a dataclass, wrong input into one sentence."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from asterisk.core.errors import UserError

Arguments = TypeVar("Arguments")


def parse_arguments(kind: type[Arguments], description: str, argv: list[str] | None = None) -> Arguments:
    """Reads arguments from `--config FILE.yaml` and from flags; flags win over the file.

    Args:
        kind: A dataclass with a help text for each field.
        description: What `--help` says first.
        argv: The command line without the program's name; by default the process's own.

    Raises:
        UserError: The recipe cannot be read, or a field or flag is unknown, missing or of another type.
    """
    from transformers import HfArgumentParser  # takes a moment to import

    class _HelpFormatter(HfArgumentParser().formatter_class):  # type: ignore[misc]
        """Shows defaults and keeps the description's line breaks, since it holds commands."""

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            return "".join(indent + line for line in text.splitlines(keepends=True))

    parser = HfArgumentParser(kind, description=description)  # type: ignore[arg-type]
    parser.add_argument("--config", metavar="FILE.yaml", help="a recipe: these same fields, as YAML (default: none)")
    parser.formatter_class = _HelpFormatter
    argv = sys.argv[1:] if argv is None else argv
    # The recipe has to be known before the flags are parsed, since it sets their defaults.
    config = _flag_value(argv, "--config")
    if config is not None:
        recipe = read_recipe(Path(config), kind)
        parser.set_defaults(**recipe)
        for action in parser._actions:
            action.required = action.required and action.dest not in recipe
    arguments, _, unknown = parser.parse_args_into_dataclasses(
        argv, look_for_args_file=False, return_remaining_strings=True
    )
    if unknown:
        raise UserError(f"There is no option {unknown[0]!r}; --help lists those there are.")
    return arguments


def read_recipe(path: Path, kind: type) -> dict[str, Any]:
    """Reads a YAML file whose keys are fields of the dataclass `kind`.

    Raises:
        UserError: There is no such file, it is not a YAML mapping, or a key or a value's type is not `kind`'s.
    """
    try:
        recipe = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no recipe {path}; the recipes that come with Asterisk lie in recipes/.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path} must hold 'field: value' lines, not {type(recipe).__name__}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in recipe.items():
        if name not in fields:
            raise UserError(f"{path}: unknown field {name!r}; the fields are {', '.join(fields)}.")
        recipe[name] = _typed(value, fields[name], path)
    return recipe


def parse_yaml(text: str) -> Any:
    """What YAML stands for, as `yaml.safe_load` says it, but for aliases, which are refused.

    A few lines that refer to each other can stand for more than memory holds.

    Raises:
        yaml.YAMLError, RecursionError: It is not YAML, has an alias, or is too deep.
    """
    return _PlainLoader(text).get_single_data()


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor} refers to another value; write it out")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # of "!!float t", for one
            raise yaml.YAMLError(f"{str(node.value)[:80]!r} is no {node.tag.rpartition(':')[2]}") from error


def _typed(value: Any, field: dataclasses.Field, path: Path) -> Any:
    """The recipe's value as the field's type; YAML reads 2e-3 as a string, for one."""
    wanted = str(getattr(field.type, "__name__", field.type)).replace(" | None", "")
    if value is None and "None" in str(field.type):
        return None
    converters: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str}
    wrong_type = isinstance(value, bool) != (wanted == "bool") or isinstance(value, (list, dict))
    try:
        if "list" in str(field.type):
            entries = value if isinstance(value, list) else [value]
            item = int if "int" in str(field.type) else str
            wanted = f"list of {item.__name__}"
            # None, True and 2.5 are no whole numbers, though int() takes the last two.
            no_item = (type(None), list, dict, *((bool, float) if item is int else ()))
            if any(isinstance(entry, no_item) for entry in entries):
                raise ValueError
            return [item(entry) for entry in entries]
        if wrong_type or (wanted == "int" and isinstance(value, float)):
            raise ValueError
        return converters.get(wanted, lambda item: item)(value)
    except (ValueError, OverflowError, TypeError):  # the last of what is left empty
        raise UserError(f"{path}: {field.name} must be of type {wanted}, not {value!r}.") from None


def _flag_value(argv: list[str], flag: str) -> str | None:
    for index, word in enumerate(argv):
        if word == flag and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith(flag + "="):
            return word[len(flag) + 1 :]
    return None
