"""Wrong input ends a program with one sentence on stderr and exit status 2."""

import functools
import re
import sys
from collections.abc import Callable
from typing import Any

# Of a URL the user's name and password, which may hold slashes, as Amazon's keys do; the values of a query, of which a
# signed URL is one, also where an error tells the path alone; and tokens of the Hub.
_SECRETS = re.compile(
    r"(?<=://)(?:[^\s/?#'\"]*|[^\s/?#@:'\"]*:(?!\d+/)[^\s?#'\"]*)@"
    r"|(?<=[?&])([\w.%-]+=)[^\s&#'\"]+"
    r"|\bhf_\w{20,}"
)


def redact(value: Any) -> Any:
    """The same text, or list or dictionary of such, without what its URLs hold that only the user may know."""
    if isinstance(value, str):
        return _SECRETS.sub(lambda found: f"{found[1]}…" if found[1] else "", value)
    if isinstance(value, dict):
        return {name: redact(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(each) for each in value]
    return value


class UserError(Exception):
    """Wrong input. The message says in one sentence what is wrong, where, and what would be right.

    Secrets of the URLs in it are left out.
    """

    def __init__(self, message: str):
        super().__init__(redact(message))


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Makes wrong input one line on stderr and exit status 2, and leaves the terminal to our own progress bars.

    That is a [`UserError`], or a text on which the tokenizer's own code fails.
    """

    @functools.wraps(main)
    def run() -> None:
        # Not at the top: the rooms below need the exception alone.
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except BaseException as error:
            # Raised of the tokenizer's Rust code, it is no Exception, and its class can be had from nowhere.
            if type(error).__name__ != "PanicException":
                raise
            reason = redact(" ".join(str(error).split())[:300])
            print(f"error: A text cannot be tokenised ({reason}); tokenizer.json may be damaged.", file=sys.stderr)
            sys.exit(2)

    return run
