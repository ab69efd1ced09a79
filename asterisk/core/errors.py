"""User errors, which end a program with one sentence on stderr and exit status 2."""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

# Three kinds of secrets: user name and password in a URL (AWS keys may contain slashes), query values (signed URLs;
# some errors quote them without the host), and Hub tokens.
_SECRETS = re.compile(
    r"(?<=://)(?:[^\s/?#'\"]*|[^\s/?#@:'\"]*:(?!\d+/)[^\s?#'\"]*)@"
    r"|(?<=[?&])([\w.%-]+=)[^\s&#'\"]+"
    r"|\bhf_\w{20,}"
)


def redact(value: Any) -> Any:
    """Remove URL secrets and Hub tokens from a string, or from all strings in a list or dictionary."""
    if isinstance(value, str):
        return _SECRETS.sub(lambda found: f"{found[1]}…" if found[1] else "", value)
    if isinstance(value, dict):
        return {name: redact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return value


def short(value: Any) -> str:
    """Format a value for a message, cut after 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def listed(names: Iterable[str]) -> str:
    """Join names for a message; of more than ten, show the first ten and the total."""
    names = list(names)
    return ", ".join(names[:10]) + (f", … ({len(names):,} in all)" if len(names) > 10 else "")


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, cut after 300 characters."""
    return " ".join(str(error).split())[:300]


class UserError(Exception):
    """Wrong input. The message says in one sentence what is wrong, where, and how to fix it; secrets are removed."""

    def __init__(self, message: str):
        super().__init__(redact(message))


class LostProcess(UserError):
    """The connection to another process of the run is lost."""


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a program's `main`: a [`UserError`] becomes one line on stderr and exit status 2.

    A panic in the tokenizer's Rust code is reported in the same way. Library logs and progress bars are silenced. Idle
    threads sleep, because spinning threads slow down other processes.
    """

    @functools.wraps(main)
    def run() -> None:
        # Libraries read these variables when they are imported, which happens later.
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
            if isinstance(error, LostProcess):
                # The threads of a broken connection sometimes abort the process while Python shuts down.
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(2)
            sys.exit(2)
        except BaseException as error:
            # The class of a Rust panic derives from BaseException and cannot be imported.
            if type(error).__name__ != "PanicException":
                raise
            reason = redact(one_line(error))
            print(f"error: A text cannot be tokenised ({reason}); tokenizer.json may be damaged.", file=sys.stderr)
            sys.exit(2)

    return run
