"""A recipe and flags become arguments; a wrong one is reported in one sentence."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError


@dataclass
class SizeArguments:
    """Sizes: how large."""

    top_labels: int = field(default=0, metadata={"help": "a number in another group"})


@dataclass
class OtherArguments:
    """Others: the rest."""

    rate: float = field(default=1.0, metadata={"help": "a number"})
    steps: int = field(default=1, metadata={"help": "a whole number"})
    names: list[str] = field(default_factory=list, metadata={"help": "several"})
    careful: bool = field(default=True, metadata={"help": "yes or no"})
    sizes: list[int] = field(default_factory=list, metadata={"help": "several numbers"})
    comment: str | None = field(default=None, metadata={"help": "anything"})


@dataclass
class Arguments(SizeArguments, OtherArguments):
    """All arguments."""


def parse(tmp_path: Path, recipe: str, *flags: str) -> Arguments:
    (tmp_path / "recipe.yaml").write_text(recipe)
    return parse_arguments(Arguments, "What it does.", ["--config", str(tmp_path / "recipe.yaml"), *flags])


def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(tmp_path: Path) -> None:
    recipe = "rate: 2e-3\nsteps: 5\nnames: one\ncareful: false\n"
    assert parse(tmp_path, recipe) == Arguments(0.002, 5, ["one"], False)
    assert parse(tmp_path, recipe, "--steps=7", "--names", "a", "b") == Arguments(0.002, 7, ["a", "b"], False)
    assert (
        parse(tmp_path, "sizes: [64, 128]").sizes
        == parse(tmp_path, "steps: 1", "--sizes", "64", "128").sizes
        == [64, 128]
    )
    assert parse_arguments(Arguments, "", []) == Arguments()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("stepps: 5", "unknown field 'stepps'; the fields are rate, steps"),
        ("steps: many", "steps must be of type int, not 'many'"),
        ("steps: 1.5", "steps must be of type int"),
        ("rate: true", "rate must be of type float"),
        ("rate:", "rate must be of type float, not None"),
        ("sizes: [1, two]", "sizes must be of type list"),
        ("sizes: null", "sizes must be of type list of int, not None"),
        ("sizes: [1, 2.5]", "sizes must be of type list of int"),
        ("careful: 3", "careful must be of type bool"),
        ("- steps", "must hold 'field: value' lines"),
        ("steps: [", "cannot be read as YAML"),
        ("rate: !!float t", "cannot be read as YAML: 't' is not a valid float"),
        ("rate: !!float", "cannot be read as YAML: '' is not a valid float"),
        ("rate: 2001-02-30", "cannot be read as YAML: '2001-02-30' is not a valid timestamp"),
    ],
)
def test_wrong_recipe_is_refused(tmp_path: Path, recipe: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(tmp_path, recipe)


def test_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no recipe"):
        parse_arguments(Arguments, "", ["--config", str(tmp_path / "none.yaml")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stepps", "3"], "There is no option '--stepps'; the nearest is --steps,"),
        (["--conf", "recipe.yaml"], "There is no option '--conf'; the nearest is --config,"),
        (["--top-labels=3"], "There is no option '--top-labels'; the nearest is --top_labels,"),
        (["recipe.yaml"], "'recipe.yaml' does not belong to an option"),
        (["--steps", "many"], "--steps: invalid int value: 'many'; --help"),
        (["--careful", "perhaps"], "--careful: Truthy value expected: got perhaps"),
        (["--config"], "--config: expected one argument"),
    ],
)
def test_wrong_flag_is_one_sentence(flags: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_arguments(Arguments, "", flags)
    assert str(error.value).startswith(message)


def test_values_may_stand_first_without_their_flag() -> None:
    assert parse_arguments(Arguments, "", ["a", "b", "--steps", "2"], first="names") == Arguments(1.0, 2, ["a", "b"])


def test_help_is_grouped_and_shows_one_spelling_and_no_empty_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(Arguments, "Do it:\n\n    python it.py", ["--help"])
    text = capsys.readouterr().out
    assert "Do it:\n\n    python it.py\n" in text
    assert text.index("others:\n  the rest.") < text.index("sizes:\n  how large.") < text.index("  --top_labels N")
    assert "--careful             yes or no (default: True; --no_careful turns it off)" in text
    assert "--comment COMMENT     anything\n" in text
    assert "--top-labels" not in text
    assert "(default: )" not in text


def test_switch_that_is_on_can_be_turned_off() -> None:
    assert not parse_arguments(Arguments, "", ["--no_careful"]).careful
    assert not parse_arguments(Arguments, "", ["--careful", "false"]).careful
