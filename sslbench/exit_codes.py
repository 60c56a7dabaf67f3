"""How the program leaves: 0 all done, 1 some cell failed, 2 bad usage or configuration.

They are subclasses of SystemExit, so that Hydra lets them through.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sslbench.words.redact import redacted
from sslbench.words.wording import fold, shorten


class UsageError(SystemExit):
    """Leave with exit code 2 and a message, without a traceback or a password."""

    def __init__(self, message: object) -> None:
        print(fold(shorten(f"sslbench: {redacted(str(message))}")), file=sys.stderr)
        super().__init__(2)


class NotDone(Exception):
    """A job of another sweeper than ours leaves its cell not done; the others go on."""


class CellStopped(SystemExit):
    """Leave with the exit code of a cell that did not finish: 1, or 128 + n for signal n."""


@contextmanager
def exit_at_ctrl_c() -> Iterator[None]:
    """Leave with 130 at Ctrl-C, without a traceback."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if _is_of_ctrl_c(error):
            raise SystemExit(128 + signal.SIGINT) from None
        raise


def _is_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether an error is a Ctrl-C, or came of one: libraries' last steps may fail then."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
