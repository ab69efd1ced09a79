"""Puts the result files into the README and the release's, so that no number in them is typed.

    python benchmarks/write_readme.py

Between `<!-- benchmarks/results/NAME.md -->` and `<!-- end -->` goes what that file holds.
"""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "release/README.md", "benchmarks/where_time_goes.md")
SLOT = re.compile(r"(<!-- (benchmarks/results/[\w.]+\.md) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def filled(readme: str) -> str:
    """A page's text with every slot filled from its file."""
    return SLOT.sub(lambda slot: slot[1] + (REPOSITORY / slot[2]).read_text(encoding="utf-8") + slot[4], readme)


if __name__ == "__main__":
    pages = {name: filled((REPOSITORY / name).read_text(encoding="utf-8")) for name in PAGES}
    for name, page in pages.items():
        (REPOSITORY / name).write_text(page, encoding="utf-8")
