"""The rooms of `asterisk/` form layers: each imports only itself and the rooms above it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

ROOMS = (
    "core",
    "reporting",
    "data",
    "models",
    "teachers",
    "evaluation",
    "distillation",
    "heads",
    "publishing",
    "serving",
)
PACKAGE = REPOSITORY / "asterisk"

# Imports that the order allows and the design forbids.
FORBIDDEN = {"heads": {"distillation"}, "serving": {*ROOMS} - {"core", "models", "serving"}}

PROGRAMS = ("train_distill", "train_head", "evaluate_mteb", "publish", "embed", "serve")

# Packages that a room or program must not load when it is imported, neither directly nor through others.
LIGHT = {
    # Waiting threads of torch sleep only if the program says so before it imports torch.
    **dict.fromkeys(PROGRAMS, ("torch",)),
    "asterisk.core": ("torch", "transformers"),
    "asterisk.models.onnx": ("torch", "transformers"),
    "asterisk.serving": ("torch", "transformers"),
}


def modules(room: str) -> list[str]:
    names = (path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted((PACKAGE / room).rglob("*.py")))
    return [".".join(name.parts).removesuffix(".__init__") for name in names]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The line and name of every import in a file, including those in functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_each_room_imports_only_rooms_above_it() -> None:
    wrong = []
    for position, room in enumerate(ROOMS):
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for line, name in imported(path):
                parts = name.split(".")
                if parts[0] != "asterisk":
                    continue
                allowed = parts[1] in ROOMS[: position + 1] and parts[1] not in FORBIDDEN.get(room, set())
                if not allowed:
                    wrong.append(f"{path.relative_to(REPOSITORY)}:{line} imports {name}")
    assert not wrong


def test_every_module_belongs_to_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.name for path in PACKAGE.glob("*.py")}
    assert folders == set(ROOMS)
    assert files <= {"__init__.py", "command_line.py"}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_a_light_room_imports_alone_and_loads_no_heavy_package(name: str) -> None:
    wanted = modules(name.split(".")[1]) if name.count(".") == 1 else [name]
    code = (
        f"import importlib, sys\nfor name in {wanted}: importlib.import_module(name)\n"
        f"print(*[name for name in {LIGHT[name]} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# Each room is imported in a fork of a process that has imported the libraries, but none of our modules.
ALONE = """
import importlib, os, sys
import torch, transformers, sentence_transformers, datasets
for room in sys.argv[1:]:
    if os.fork():
        _, status = os.wait()
        assert status == 0, f"{room} does not import alone"
    else:
        for name in room.split(","):
            importlib.import_module(name)
        os._exit(0)
"""


@pytest.mark.slow
def test_each_room_imports_alone() -> None:
    rooms = [",".join(modules(room)) for room in ROOMS]
    done = subprocess.run([sys.executable, "-c", ALONE, *rooms], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
