"""Wrong input ends a program with one sentence on stderr and exit status 2."""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any

# Three kinds of secrets: the user name and password of a URL (Amazon's keys may contain slashes), the values of a
# query (signed URLs; some errors quote the path without the host), and tokens of the Hub.
_SECRETS = re.compile(
    r"(?<=://)(?:[^\s/?#'\"]*|[^\s/?#@:'\"]*:(?!\d+/)[^\s?#'\"]*)@"
    r"|(?<=[?&])([\w.%-]+=)[^\s&#'\"]+"
    r"|\bhf_\w{20,}"
)


def redact(value: Any) -> Any:
    """Remove the secrets of URLs and the Hub's tokens from a text, or from the texts of a list or dictionary."""
    if isinstance(value, str):
        return _SECRETS.sub(lambda found: f"{found[1]}…" if found[1] else "", value)
    if isinstance(value, dict):
        return {name: redact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return value


class UserError(Exception):
    """Wrong input. The message says in one sentence what is wrong, where, and what would be right; it is redacted."""

    def __init__(self, message: str):
        super().__init__(redact(message))


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a program's `main`: wrong input becomes one line on stderr and exit status 2.

    Wrong input is a [`UserError`], or a text on which the tokenizer's Rust code panics. The libraries stay silent, and
    their progress bars give way to ours. Idle threads sleep: processes with spinning threads slow one another down.
    """

    @functools.wraps(main)
    def run() -> None:
        # The libraries read these when they are imported, which is after this point.
        for name, value in (
            ("OMP_WAIT_POLICY", "PASSIVE"),
            ("KMP_BLOCKTIME", "0"),
            ("TRANSFORMERS_VERBOSITY", "error"),
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ):
            os.environ.setdefault(name, value)
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except BaseException as error:
            # The class of a Rust panic derives from BaseException and cannot be imported.
            if type(error).__name__ != "PanicException":
                raise
            reason = redact(" ".join(str(error).split())[:300])
            print(f"error: A text cannot be tokenised ({reason}); tokenizer.json may be damaged.", file=sys.stderr)
            sys.exit(2)

    return run
