"""The private names of other packages that Asterisk uses, in one place, each with its reason.

A name that is private to its package may change in any release. `modeling_asterisk`, which travels, uses none.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

# Module and attributes that define the name: the reason why no public name serves.
PRIVATE = {
    "argparse:HelpFormatter._format_args": "argparse shows the value of a switch, [RESUME], in --help",
    "os:_exit": "documented in spite of its name; only it ends a process from one of its threads",
    "torch:_foreach_mul_": "one call scales all gradients; without it, clipping takes a loop over the weights",
    "transformers:PreTrainedModel._init_weights": "a new head starts as transformers initialises one",
}

PROGRAMS = ["train_distill.py", "train_head.py", "evaluate_mteb.py", "publish.py", "embed.py", "serve.py"]
OURS = [*(REPOSITORY / "asterisk").rglob("*.py"), *(REPOSITORY / name for name in PROGRAMS)]
TRAVELLING = list((REPOSITORY / "modeling_asterisk").glob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.AST) -> Iterator[str]:
    """The names that a module defines: functions, classes, variables and attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def used(tree: ast.AST) -> Iterator[str]:
    """The private names that a module imports, or reads or sets as an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(("asterisk", "modeling_asterisk")):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
            if is_private(node.attr) and ast.unparse(node.value) == "super()":
                yield f"super().{node.attr}"
                continue
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            names = [str(node.args[1].value)] if isinstance(node.args[1], ast.Constant) else []
        else:
            continue
        yield from filter(is_private, names)


def foreign(files: list[Path]) -> dict[str, str]:
    """Map each private name that none of the files defines to a file that uses it."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    own = {name for tree in trees.values() for name in defined(tree)}
    return {
        name.removeprefix("super()."): str(path.relative_to(REPOSITORY))
        for path, tree in trees.items()
        for name in used(tree)
        if name not in own
    }


def test_every_private_name_is_listed_and_every_listed_one_is_used() -> None:
    assert set(foreign(OURS)) == {name.rpartition(".")[2].rpartition(":")[2] for name in PRIVATE}, foreign(OURS)


@pytest.mark.parametrize("name", PRIVATE)
def test_private_name_still_exists(name: str) -> None:
    module, _, attributes = name.partition(":")
    found = import_module(module)
    for attribute in attributes.split("."):
        assert hasattr(found, attribute), f"{name} has gone; {PRIVATE[name]}"
        found = getattr(found, attribute)
