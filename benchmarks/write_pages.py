"""Fill the documentation's tables from result files, and write the page of options from the programs.

    python -m benchmarks.write_pages

The content of the file replaces everything between `<!-- benchmarks/results/NAME.md -->` and `<!-- end -->`.
"""

import dataclasses
import importlib
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
OPTIONS = REPOSITORY / "docs" / "options.md"
SLOT = re.compile(r"(<!-- (benchmarks/results/[\w.]+\.md) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
PROGRAMS = ("train_distill", "train_head", "evaluate_mteb", "publish", "embed", "serve")


def pages() -> list[Path]:
    """Every page of the documentation."""
    named = [REPOSITORY / name for name in ("README.md", "release/README.md", "benchmarks/where_time_goes.md")]
    return [*named, *sorted((REPOSITORY / "docs").glob("*.md"))]


def filled(page: str) -> str:
    """A page's text with every slot filled from its file."""
    return SLOT.sub(lambda slot: slot[1] + (REPOSITORY / slot[2]).read_text(encoding="utf-8") + slot[4], page)


def options_page() -> str:
    """The page that lists every option of every program: its default and its help text."""
    parts = [
        "# Options\n\nEvery field of every recipe and command. `python -m benchmarks.write_pages` writes this page "
        "from the programs. A recipe is a YAML file with these fields; `--config FILE.yaml` reads it, and flags win "
        "over it.\n"
    ]
    for program in PROGRAMS:
        parts.append(f"\n## {program}.py\n")
        for group in reversed(arguments_of(program).__mro__[:-1]):
            fields = [field for field in dataclasses.fields(group) if field.name in group.__annotations__]
            if fields:
                title, _, text = (group.__doc__ or "").partition(": ")
                head = "| field | default | meaning |\n| --- | --- | --- |\n"
                parts.append(f"\n### {title}\n\n{text[:1].upper()}{text[1:]}\n\n{head}")
                parts += [f"| `{field.name}` | {default(field)} | {meaning(field)} |\n" for field in fields]
    return "".join(parts)


def arguments_of(program: str) -> type:
    """The dataclass of a program's arguments: the one with most fields."""
    members = vars(importlib.import_module(program))
    classes = [each for name, each in members.items() if name.endswith("Arguments")]
    return max(classes, key=lambda each: len(dataclasses.fields(each)))


def default(field: dataclasses.Field) -> str:
    """The default as a recipe writes it; an empty default gives an empty cell."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value in ("", None, []):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text.replace(f'{REPOSITORY}/', '')}`"


def meaning(field: dataclasses.Field) -> str:
    """The help text as the cell of a table."""
    return str(field.metadata["help"]).replace("|", "\\|")


def main() -> None:
    """Rewrite all pages."""
    OPTIONS.write_text(options_page(), encoding="utf-8")
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
