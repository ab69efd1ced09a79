"""Recipe and flags become arguments; what is wrong with them is said in one sentence."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point, redact


@dataclass
class Arguments:
    rate: float = field(default=1.0, metadata={"help": "a number"})
    steps: int = field(default=1, metadata={"help": "a whole number"})
    names: list[str] = field(default_factory=list, metadata={"help": "several"})
    careful: bool = field(default=True, metadata={"help": "yes or no"})
    sizes: list[int] = field(default_factory=list, metadata={"help": "several numbers"})
    comment: str | None = field(default=None, metadata={"help": "anything"})


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
        ("rate: !!float t", "cannot be read as YAML: 't' is no float"),
        ("rate: !!float", "cannot be read as YAML: '' is no float"),
        ("rate: 2001-02-30", "cannot be read as YAML: '2001-02-30' is no timestamp"),
    ],
)
def test_wrong_recipe_is_refused(tmp_path: Path, recipe: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(tmp_path, recipe)


def test_missing_recipe_and_unknown_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no recipe"):
        parse_arguments(Arguments, "", ["--config", str(tmp_path / "none.yaml")])
    with pytest.raises(UserError, match="There is no option '--stepps'"):
        parse_arguments(Arguments, "", ["--stepps", "3"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://AKIA:abc/def+g/h@bucket/texts.txt", "s3://bucket/texts.txt"),
        ("simplecache::https://me@host:8000/a/texts.txt.gz", "simplecache::https://host:8000/a/texts.txt.gz"),
        (
            "https://host/x.csv?X-Amz-Expires=9&X-Amz-Signature=ab%2Fc",
            "https://host/x.csv?X-Amz-Expires=…&X-Amz-Signature=…",
        ),
        ("retries exceeded with url: /x.csv?sig=abc (caused", "retries exceeded with url: /x.csv?sig=… (caused"),
        ("not 'https://me:hf_AbCdEfGhIjKlMnOpQrStUv@hub/me/x'.", "not 'https://hub/me/x'."),
        ("--repo_id hf_AbCdEfGhIjKlMnOpQrStUv", "--repo_id "),
        *(
            (same, same)
            for same in ("https://host:80/users/@me/x.txt", "texts/part?.txt", "hub:me/x:y", "me@home: a?b", "A=b")
        ),
    ],
)
def test_what_is_told_of_a_url_holds_nothing_secret(text: str, told: str) -> None:
    assert redact({"corpus": [text, 3, None]}) == {"corpus": [told, 3, None]}
    assert redact(told) == told
    assert str(UserError(text)) == told


def test_tokenizer_whose_pattern_has_no_end_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer(WordLevel({"soup": 0}, unk_token="soup"))
    tokenizer.pre_tokenizer = Split(Regex("(x+x+)+y"), "isolated")

    @entry_point
    def main() -> None:
        tokenizer.encode("x" * 60)

    with pytest.raises(SystemExit) as exit_status:
        main()
    assert exit_status.value.code == 2
    assert "error: A text cannot be tokenised (Onig: Regex search error: retry-limit" in capsys.readouterr().err
