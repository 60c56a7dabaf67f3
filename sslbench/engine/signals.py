"""SIGTERM, SIGUSR2, SIGHUP and Ctrl-C finish the step and save, instead of losing it."""

import os
import signal
import time
from contextlib import ExitStack
from types import FrameType

from sslbench.machine.processes import ONE_STOP_SECONDS, handled


class Interrupted(Exception):
    """Training stopped at `step` because of a signal; the checkpoint holds it."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.signal_number = signal_number


class StopRequest:
    """While entered, the first signal is noted in `signal_number`; a later one acts at once.

    A signal that the process ignores stays ignored.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._noted_at = 0.0
        self._handlers = ExitStack()

    def _note(self, signal_number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number, self._noted_at = signal_number, time.monotonic()
        elif time.monotonic() - self._noted_at > ONE_STOP_SECONDS:
            self._handlers.close()
            os.kill(os.getpid(), signal_number)

    def __enter__(self) -> "StopRequest":
        self._handlers.enter_context(handled(self._note))
        return self

    def __exit__(self, *error: object) -> None:
        self._handlers.close()
