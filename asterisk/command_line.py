"""`asterisk COMMAND ...` runs the programs at the top of the repository; an installed wheel contains them too."""

import ast
import runpy
import sys
from pathlib import Path

from asterisk.core.errors import UserError, entry_point

COMMANDS = {
    "distill": "train_distill.py",
    "head": "train_head.py",
    "evaluate": "evaluate_mteb.py",
    "publish": "publish.py",
    "embed": "embed.py",
    "serve": "serve.py",
}

PACKAGE = Path(__file__).resolve().parent


def program(command: str) -> Path:
    """Return the file of a command's program: inside the package in a wheel, beside the package in a checkout."""
    installed = PACKAGE / "entry_points" / COMMANDS[command]
    return installed if installed.exists() else PACKAGE.parent / COMMANDS[command]


def usage() -> str:
    """List the commands with the first line of each program's docstring."""
    lines = ["usage: asterisk COMMAND [option ...]", ""]
    for command in COMMANDS:
        summary = (ast.get_docstring(ast.parse(program(command).read_text(encoding="utf-8"))) or "").partition("\n")[0]
        lines.append(f"  {command:<10}{summary}")
    return "\n".join([*lines, "", "asterisk COMMAND --help lists the options of a command."])


@entry_point
def main() -> None:
    """Run the program of the first argument with the other arguments."""
    command, *options = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
        return
    if command not in COMMANDS:
        raise UserError(f"There is no command {command!r}; the commands are {', '.join(COMMANDS)}.")
    sys.argv = [f"asterisk {command}", *options]
    runpy.run_path(str(program(command)), run_name="__main__")


if __name__ == "__main__":
    main()
