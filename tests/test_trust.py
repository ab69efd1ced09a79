"""What the code that users load or run can do at most, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

TRAVELS = sorted([*(REPOSITORY / "modeling_asterisk").glob("*.py"), REPOSITORY / "asterisk/publishing/handler.py"])
PROJECT = sorted(
    path for pattern in ("*.py", "asterisk/**/*.py", "modeling_asterisk/*.py") for path in REPOSITORY.glob(pattern)
)
# Of the standard library, only what names types.
HARMLESS = {"collections", "typing", "torch", "transformers"}
# What opens files or sockets, or runs text as code.
FORBIDDEN_NAMES = {"open", "exec", "eval", "compile", "__import__", "input", "breakpoint", "globals"}
FORBIDDEN_ATTRIBUTES = {"load", "loads", "system", "popen", "socket", "urlopen", "hub", "cpp_extension", "package"}
# What turns bytes into objects of any kind.
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that a module imports, its own siblings left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}


@pytest.mark.parametrize("path", TRAVELS, ids=name)
def test_code_that_travels_reads_and_runs_nothing_by_itself(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(imported(tree)) <= HARMLESS
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & FORBIDDEN_NAMES
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & FORBIDDEN_ATTRIBUTES


@pytest.mark.parametrize("path", PROJECT, ids=name)
def test_nothing_is_unpickled_or_given_to_a_shell(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(imported(tree)) & UNPICKLERS
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = keywords(call)
        assert given.get("shell") is not True
        assert given.get("allow_pickle") is not True
        called = ast.unparse(call.func)
        assert called not in ("torch.load", "yaml.load", "eval", "exec", "os.system"), called
