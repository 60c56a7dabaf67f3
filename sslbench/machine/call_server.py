"""A process that makes the calls that it is sent, one by one, for as long as there is a sender."""

import os
import pickle
import sys
from contextlib import suppress
from typing import Any

from sslbench.machine.processes import kill_with_parent


def serve() -> None:
    """Read pickled calls from standard input, and write pairs of result and error.

    It ends where it cannot answer, so that the sender makes the call.
    """
    kill_with_parent()
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what functions print is no answer
    with suppress(EOFError, OSError, pickle.PicklingError, TypeError, AttributeError):
        while True:
            answer = pickle.dumps(_answer(pickle.load(calls)))
            answers.write(answer)
            answers.flush()


def _answer(call: bytes) -> tuple[Any, Exception | None]:
    try:
        return pickle.loads(call)(), None
    except Exception as error:
        return None, error


if __name__ == "__main__":
    serve()
