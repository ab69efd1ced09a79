"""Parse flags and a YAML recipe into a dataclass, with `--help` grouped by the base classes."""

import argparse
import dataclasses
import difflib
import math
import operator
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar

import yaml

from asterisk.core.errors import UserError, one_line

Arguments = TypeVar("Arguments")

# Limits of an option's value: the wording in messages, and the comparison.
LIMITS = {
    "above": ("above", operator.gt),
    "least": ("at least", operator.ge),
    "below": ("below", operator.lt),
    "most": ("at most", operator.le),
}


def option(default: Any, help_text: str, **metadata: Any) -> Any:
    """Declare a dataclass field as a command-line option.

    Args:
        default: The default value; a list is copied for each instance.
        help_text: One line for `--help`, without a full stop.
        metadata: `required` (bool), `choices` (strings) and any of [`LIMITS`], which [`parse_arguments`] checks;
            further entries, such as `action`, go to `argparse`.
    """
    metadata = {"help": help_text, **metadata}
    if isinstance(default, list):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse_arguments(
    kind: type[Arguments], description: str, argv: list[str] | None = None, first: str | None = None
) -> Arguments:
    """Read arguments from `--config FILE.yaml` and from flags; flags win over the file.

    Args:
        kind: A dataclass whose fields are [`option`]s. Each base class becomes a group in `--help`, headed by its
            docstring, "Title: description".
        description: The text at the top of `--help`.
        argv: The command line without the program's name; by default `sys.argv[1:]`.
        first: The field whose values may come first, without its flag.

    Returns:
        An instance of `kind`.

    Raises:
        UserError: The recipe cannot be read, a required option is missing, an option is unknown, or a value is wrong.
    """
    argv = sys.argv[1:] if argv is None else argv
    if first and argv and not argv[0].startswith("-"):
        argv = [f"--{first}", *argv]
    parser = _parser(kind, description)
    parser.add_argument(
        "--config", metavar="FILE.yaml", help="a YAML recipe with values for the options below; flags override it"
    )
    # The recipe sets the flags' defaults, so read it first.
    recipe_flag = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    recipe_flag.add_argument("--config", nargs="?")
    if recipe := recipe_flag.parse_known_args(argv)[0].config:
        parser.set_defaults(**_recipe_values(Path(recipe), parser.actions))
    arguments, _, unknown = parser.parse_args_into_dataclasses(
        argv, look_for_args_file=False, return_remaining_strings=True
    )
    if unknown:
        raise UserError(_unknown_option(unknown[0], parser.actions))
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.metadata.get("required") and not getattr(arguments, field.name):
            raise UserError(f"--{field.name} is missing; --help shows whole commands.")
    check_options(arguments)
    return arguments


def check_options(arguments: Any) -> None:
    """Raise a [`UserError`] for a value or list item outside the limits or choices of its [`option`]; None passes."""
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        limits = {name: field.metadata[name] for name in LIMITS if name in field.metadata}
        wanted = " and ".join(f"{LIMITS[name][0]} {limit}" for name, limit in limits.items())
        items = value if isinstance(value, list) else [] if value is None else [value]
        is_right = all(LIMITS[name][1](item, limit) for name, limit in limits.items() for item in items)
        is_right &= all(math.isfinite(item) for item in items if isinstance(item, float))
        if choices := field.metadata.get("choices"):
            wanted, is_right = f"{', '.join(choices[:-1])} or {choices[-1]}", value in choices
        if not is_right:
            raise UserError(f"--{field.name} must be {wanted or 'finite'}, not {value!r}.")


def parse_yaml(text: str) -> Any:
    """Parse YAML like `yaml.safe_load`, but raise a YAMLError for aliases, since nested ones can exhaust memory."""
    return _PlainLoader(text).get_single_data()


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor} is an alias; write the value out")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # for example from "!!float t"
            raise yaml.YAMLError(f"{str(node.value)[:80]!r} is not a valid {node.tag.rpartition(':')[2]}") from error


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description, and shows switches without a value."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return "" if action.const is True else super()._format_args(action, default_metavar)


def _parser(kind: Any, description: str) -> Any:
    """Create a parser whose `actions` maps flags to their actions."""
    from transformers.hf_argparser import HfArgumentParser  # takes a moment to import

    classes = [cls for cls in reversed(kind.__mro__) if dataclasses.is_dataclass(cls)]
    class_of = {name: cls for cls in classes for name in cls.__annotations__}

    class Parser(HfArgumentParser):
        """An HfArgumentParser with option groups, one spelling per flag, and UserErrors."""

        def __init__(self, **options: Any):
            self.actions: dict[str, argparse.Action] = {}
            self.groups: dict[Any, Any] = {}
            super().__init__(kind, **options)

        def add_argument(self, *flags: str, **options: Any) -> argparse.Action:  # type: ignore[override]
            options = {name: value for name, value in options.items() if name not in ("required", "choices", *LIMITS)}
            name = flags[0].lstrip("-").removeprefix("no_")
            flags = tuple(flag for flag in flags if "-" not in flag.lstrip("-"))
            default = options.get("default")
            if options.get("action") == "store_false":
                options["help"] = argparse.SUPPRESS  # the positive flag's help mentions it
            elif (
                name in class_of and (default or type(default) in (int, float)) and "(default:" not in options["help"]
            ):
                shown = f"{default}; --no_{name} turns it off" if default is True else default
                shown = " ".join(map(str, default)) if isinstance(default, list) else shown
                options["help"] += f" (default: {shown})".replace("%", "%%")
            if options.get("type") in (int, float):
                options["metavar"] = "N"
            add = super().add_argument
            if cls := class_of.get(name):
                if cls not in self.groups:
                    title, _, about = (cls.__doc__ or "").partition("\n")[0].partition(": ")
                    self.groups[cls] = self.add_argument_group(title.lower(), about)
                add = self.groups[cls].add_argument
            action = add(*flags, **options)
            self.actions |= dict.fromkeys(flags, action)
            return action

        def error(self, message: str) -> NoReturn:
            raise UserError(f"{message.removeprefix('argument ').rstrip('.')}; --help lists the options.")

    return Parser(
        description=description, usage="%(prog)s [option ...]", formatter_class=_HelpFormatter, allow_abbrev=False
    )


def _recipe_values(path: Path, actions: dict[str, argparse.Action]) -> dict[str, Any]:
    """Read a recipe and convert its values to the flags' types; YAML reads 2e-3 as text, for example."""
    try:
        recipe = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no recipe {path}; Asterisk's own recipes are in recipes/.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as YAML: {one_line(error)}.") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path} must hold 'field: value' lines, not {type(recipe).__name__}.")
    fields = {action.dest: action for action in actions.values() if action.type is not None}
    for name, value in recipe.items():
        if name not in fields:
            raise UserError(f"{path}: unknown field {name!r}; the fields are {', '.join(fields)}.")
        recipe[name] = _convert(value, fields[name], path)
    return recipe


def _convert(value: Any, action: argparse.Action, path: Path) -> Any:
    """Convert a recipe's value as the parser converts a flag's text."""
    if value is None and action.default in (None, ""):
        return action.default
    convert: Any = action.type
    is_switch, is_list = action.const is True, action.nargs == "+"
    try:
        values = value if is_list and isinstance(value, list) else [value]
        if any(isinstance(item, bool) != is_switch or isinstance(item, (list, dict, NoneType)) for item in values):
            raise ValueError
        converted = values if is_switch else [convert(str(item)) for item in values]
    except ValueError:
        kind = "bool" if is_switch else convert.__name__
        raise UserError(
            f"{path}: {action.dest} must be of type {'list of ' * is_list}{kind}, not {value!r}."
        ) from None
    return converted if is_list else converted[0]


def _unknown_option(word: str, flags: Iterable[str]) -> str:
    flag = word.partition("=")[0].replace("-", "_")
    if not word.startswith("-"):
        return f"{word!r} does not belong to an option; --help lists the options."
    nearest = max(flags, key=lambda known: difflib.SequenceMatcher(None, flag, known.replace("-", "_")).ratio())
    return f"There is no option {word.partition('=')[0]!r}; the nearest is {nearest}, and --help lists all."
