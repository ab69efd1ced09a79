"""The documentation holds: its snippets run, its commands parse, its tables are those of the result files."""

import contextlib
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from benchmarks.write_pages import OPTIONS, SLOT, filled, options_page, pages
from tests.support.labelled import topic_rows, write_table
from tests.support.paths import REPOSITORY, TEACHER
from tests.support.programs import run_here
from tests.support.serving import serving

PAGES = {str(page.relative_to(REPOSITORY)): page.read_text(encoding="utf-8") for page in pages()}
GUIDES = {name: page for name, page in PAGES.items() if name == "README.md" or name.startswith("docs/")}
LARGEST_README = 10_240


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


# The databases are installed, and their snippets run, by benchmarks/consumers.py.
DATABASES = "docs/vector_databases.md"
SNIPPETS = [
    (name, snippet) for name, page in GUIDES.items() if name != DATABASES for snippet in blocks(page, "python")
]
COMMANDS = [
    (name, line.removeprefix("$ "))
    for name, page in GUIDES.items()
    for language in ("bash", "console")
    for block in blocks(page, language)
    for line in block.strip().splitlines()
]
# These run in `test_commands_run`, with few texts and steps. Others need the network, a cluster or a while.
RUNS = ("train_head.py", "embed.py", "--dry_run", "python -c", "sha256sum", "for file in", "--corpus my_texts.txt")
NEEDS_THE_HUB = "sentence-transformers/"
HUB_TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
# Too few texts are held out for a report, which the small run writes.
QUICK = {"train_distill.py": ["--max_steps", "2", "--batch_size", "16", "--heldout", "50"]}


@pytest.fixture(scope="module")
def sandbox(small_run: Path, published: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the repository after `make demo` and `publish.py`, with a user's own files."""
    folder = tmp_path_factory.mktemp("documentation")
    for name in ("modeling_asterisk", "asterisk", "recipes", *(path.name for path in REPOSITORY.glob("*.py"))):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "runs" / "demo").mkdir(parents=True)
    (folder / "runs" / "demo" / "model").symlink_to(small_run / "model")
    (folder / "release").mkdir()
    (folder / "release" / "asterisk").symlink_to(REPOSITORY / "release" / "asterisk")
    (folder / "release" / "demo").symlink_to(published)
    for name in ("my_texts.txt", "texts.txt"):
        (folder / name).write_text("\n".join(sentences[::20]), encoding="utf-8")
    for name in ("train.csv", "test.csv"):
        write_table(folder / name, topic_rows(60))
    return folder


def run_line(line: str, folder: Path) -> None:
    """Run a line of a guide in a folder; Python programs run in this process, without seconds of imports."""
    match shlex.split(line, comments=True):
        case ["python", "-c", code]:
            with contextlib.chdir(folder):
                exec(code, {})
        case ["python", program, *flags]:
            result = run_here(program, *flags, *QUICK.get(program, []), folder=folder)
            assert result.returncode == 0, f"{line}\n{result.stderr}"
        case _:
            subprocess.run(line, shell=True, cwd=folder, check=True)


@pytest.mark.slow
def test_commands_run(sandbox: Path, small_material: Path) -> None:
    for line in dict.fromkeys(line for _, line in COMMANDS):
        if any(part in line for part in RUNS) and NEEDS_THE_HUB not in line:
            run_line(line.replace(TEACHER, str(small_material / "teacher")), sandbox)


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_name_flags_targets_and_extras_that_exist(page: str, line: str) -> None:
    fields = set(re.findall(r"^\| `(\w+)` \|", OPTIONS.read_text(encoding="utf-8"), re.MULTILINE))
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[0] == "pip":
        extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert words[2].strip(".[]") in extras["optional-dependencies"]
    elif program := next((word for word in words if word.endswith(".py") and "=" not in word), None):
        if words[0] != "for":
            assert (REPOSITORY / program).exists()
        if (REPOSITORY / program).parent == REPOSITORY:
            given = {word[2:].partition("=")[0] for word in words[words.index(program) :] if word.startswith("--")}
            assert given <= fields | {"config"}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "snippet"), [pair for pair in SNIPPETS if "base_url" not in pair[1]])
def test_snippet_runs(
    page: str, snippet: str, sandbox: Path, small_material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, program in (("runs/intents", "train_head.py"), ("release/query", "publish.py")):
        if folder in snippet and not (sandbox / folder).exists():
            run_line(next(line for _, line in COMMANDS if folder in line and program in line), sandbox)
    monkeypatch.chdir(sandbox)
    names: dict[str, object] = {}
    exec(snippet.replace(HUB_TEACHER, str(small_material / "teacher")), names)
    if "short" in names:
        assert names["short"].shape == (64,)  # type: ignore[attr-defined]
    if "loss" in names:
        assert names["loss"].requires_grad  # type: ignore[attr-defined]


@pytest.mark.slow
def test_service_answers_the_snippet(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = next(line for _, line in COMMANDS if "serve.py" in line)
    script, folder, *options = line.removeprefix("python ").split()
    assert (script, folder) == ("serve.py", "release/demo")
    (snippet,) = (snippet for _, snippet in SNIPPETS if "base_url" in snippet)
    # The test chooses a free port.
    with serving(published, tmp_path / "log", *options) as service:
        exec(snippet.replace("http://127.0.0.1:8000", service.url), {})
    assert capsys.readouterr().out == "64\n"


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if SLOT.search(page)])
def test_tables_are_those_of_the_result_files(name: str) -> None:
    assert filled(PAGES[name]) == PAGES[name], "run python -m benchmarks.write_pages"


def test_options_are_those_of_the_programs() -> None:
    assert OPTIONS.read_text(encoding="utf-8") == options_page(), "run python -m benchmarks.write_pages"


@pytest.mark.parametrize("name", PAGES)
def test_links_and_paths_exist(name: str) -> None:
    linked = re.findall(r"\]\((?!http)([\w./]+)\)", PAGES[name])
    listed = re.findall(r"^\| `([\w./]+/)` \|", PAGES[name], re.MULTILINE)
    for path in linked + listed:
        assert ((REPOSITORY / name).parent / path).exists(), path


def test_readme_is_short() -> None:
    assert (REPOSITORY / "README.md").stat().st_size <= LARGEST_README


def test_every_guide_is_in_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_fine_tuning_is_ahead_of_fasttext_except_where_the_guide_says() -> None:
    lines = json.loads((REPOSITORY / "benchmarks" / "results" / "heads.json").read_text(encoding="utf-8"))["lines"]
    full, other = (
        {line["set"]: line["accuracy"] for line in lines if (line["setting"], line["method"]) == ("all texts", method)}
        for method in ("full", "fastText")
    )
    assert full.keys() == other.keys()
    behind = {name for name in full if full[name] <= other[name]}
    (named,) = re.findall(r"ahead of fastText on every set except (.*?)\.", GUIDES["docs/heads.md"], re.DOTALL)
    assert behind == {name for name in full if re.search(rf"{re.escape(name)}\b", named)}
