"""Command lines: flags and a YAML recipe become a dataclass, and help that is grouped by the dataclass's bases."""

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar

import yaml

from asterisk.core.errors import UserError

Arguments = TypeVar("Arguments")


def option(default: Any, help_text: str, **metadata: Any) -> Any:
    """A dataclass field that is an option of a program: its default, and the text that `--help` shows.

    Args:
        default: Each instance gets a copy of a list.
        help_text: One line without a full stop.
        metadata: Arguments of `argparse`, such as `action`.
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
        kind: A dataclass with a help text for each field. The fields of each class that it derives from form a group
            of `--help`, whose title and description are the class's docstring: "Title: description".
        description: The beginning of `--help`.
        argv: The command line without the program's name; by default that of the process.
        first: The field whose values may stand first, without its flag.

    Raises:
        UserError: The recipe cannot be read, or a field or flag is unknown or its value has the wrong type.
    """
    argv = sys.argv[1:] if argv is None else argv
    if first and argv and not argv[0].startswith("-"):
        argv = [f"--{first}", *argv]
    parser = _parser(kind, description)
    parser.add_argument("--config", metavar="FILE.yaml", help="a recipe: the options below as YAML; flags win over it")
    # The recipe sets the defaults of the flags, so it is read before they are parsed.
    recipe_flag = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    recipe_flag.add_argument("--config", nargs="?")
    if recipe := recipe_flag.parse_known_args(argv)[0].config:
        parser.set_defaults(**_recipe_values(Path(recipe), parser.actions))
    arguments, _, unknown = parser.parse_args_into_dataclasses(
        argv, look_for_args_file=False, return_remaining_strings=True
    )
    if unknown:
        raise UserError(_unknown_option(unknown[0], parser.actions))
    return arguments


def parse_yaml(text: str) -> Any:
    """Parse YAML like `yaml.safe_load`, but refuse aliases: nested ones expand to more than memory holds.

    Raises:
        yaml.YAMLError, RecursionError: The text is not YAML, contains an alias, or is nested too deeply.
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
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # such as from "!!float t"
            raise yaml.YAMLError(f"{str(node.value)[:80]!r} is no {node.tag.rpartition(':')[2]}") from error


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description, which contains commands; shows a switch without a value."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return "" if action.const is True else super()._format_args(action, default_metavar)


def _parser(kind: Any, description: str) -> Any:
    """Create a parser whose `actions` maps flags to their actions."""
    from transformers.hf_argparser import HfArgumentParser  # takes a moment to import

    classes = [cls for cls in reversed(kind.__mro__) if dataclasses.is_dataclass(cls)]
    class_of = {name: cls for cls in classes for name in cls.__annotations__}

    class Parser(HfArgumentParser):
        """HfArgumentParser with groups, one spelling of each flag, and errors that the caller reports."""

        def __init__(self, **options: Any):
            self.actions: dict[str, argparse.Action] = {}
            self.groups: dict[Any, Any] = {}
            super().__init__(kind, **options)

        def add_argument(self, *flags: str, **options: Any) -> argparse.Action:  # type: ignore[override]
            name = flags[0].lstrip("-").removeprefix("no_")
            flags = tuple(flag for flag in flags if "-" not in flag.lstrip("-"))
            default = options.get("default")
            if options.get("action") == "store_false":
                options["help"] = argparse.SUPPRESS  # the switch that it turns off mentions it
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
    """Read the fields of a recipe and convert them to the types of the flags: YAML reads 2e-3 as text, for example."""
    try:
        recipe = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no recipe {path}; the recipes that come with Asterisk are in recipes/.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path} must hold 'field: value' lines, not {type(recipe).__name__}.")
    fields = {action.dest: action for action in actions.values() if action.type is not None}
    for name, value in recipe.items():
        if name not in fields:
            raise UserError(f"{path}: unknown field {name!r}; the fields are {', '.join(fields)}.")
        recipe[name] = _converted(value, fields[name], path)
    return recipe


def _converted(value: Any, action: argparse.Action, path: Path) -> Any:
    """Convert a value of a recipe as the parser converts the text of a flag."""
    if value is None and action.default in (None, ""):
        return action.default
    convert: Any = action.type
    is_switch, is_list = action.const is True, action.nargs == "+"
    try:
        values = value if is_list and isinstance(value, list) else [value]
        if any(isinstance(each, bool) != is_switch or isinstance(each, (list, dict, NoneType)) for each in values):
            raise ValueError
        converted = values if is_switch else [convert(str(each)) for each in values]
    except ValueError:
        kind = "bool" if is_switch else convert.__name__
        raise UserError(
            f"{path}: {action.dest} must be of type {'list of ' * is_list}{kind}, not {value!r}."
        ) from None
    return converted if is_list else converted[0]


def _unknown_option(word: str, flags: Iterable[str]) -> str:
    flag = word.partition("=")[0].replace("-", "_")
    if not word.startswith("-"):
        return f"{word!r} belongs to no option; --help lists the options."
    nearest = max(flags, key=lambda each: difflib.SequenceMatcher(None, flag, each.replace("-", "_")).ratio())
    return f"There is no option {word.partition('=')[0]!r}; the nearest is {nearest}, and --help lists all."
