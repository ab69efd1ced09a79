"""Wrong input is one sentence without secrets, and exit status 2."""

import os
import subprocess
import sys

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from asterisk.core.errors import UserError, entry_point, redact
from tests.support.paths import REPOSITORY


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
def test_urls_are_told_without_secrets(text: str, told: str) -> None:
    assert redact({"corpus": [text, 3, None]}) == {"corpus": [told, 3, None]}
    assert redact(told) == told
    assert str(UserError(text)) == told


def test_panic_of_the_tokenizer_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer(WordLevel({"soup": 0}, unk_token="soup"))
    tokenizer.pre_tokenizer = Split(Regex("(x+x+)+y"), "isolated")

    @entry_point
    def main() -> None:
        tokenizer.encode("x" * 60)

    with pytest.raises(SystemExit) as exit_status:
        main()
    assert exit_status.value.code == 2
    assert "error: A text cannot be tokenised (Onig: Regex search error: retry-limit" in capsys.readouterr().err


def test_wrong_input_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    @entry_point
    def main() -> None:
        raise UserError("The file is empty.")

    with pytest.raises(SystemExit) as exit_status:
        main()
    assert (exit_status.value.code, capsys.readouterr().err) == (2, "error: The file is empty.\n")


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_idle_threads_of_programs_sleep_unless_the_user_chose(given: str | None) -> None:
    script = "import os; from asterisk.core.errors import entry_point; "
    script += "entry_point(lambda: print(os.environ['OMP_WAIT_POLICY']))()"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == (given or "PASSIVE")
