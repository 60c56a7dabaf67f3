"""Text for whoever reads a command, who may have closed the door already."""

import os
import sys

from sslbench.words.escape import printable


def show(text: str) -> None:
    """Print a text of any characters; a reader that stops early, such as `head`, is no error."""
    if sys.stdout is None:  # closed by who called: what is written there goes nowhere
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    # A folder's name need not be text, nor a terminal show all characters.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        # What is still in the buffer is written when Python ends, and must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
