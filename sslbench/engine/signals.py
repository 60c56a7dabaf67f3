"""SIGTERM and Ctrl-C finish the step and save, instead of losing it."""

import signal
import threading
from types import FrameType


class Interrupted(Exception):
    """Training stopped at `step` because of a signal; the checkpoint holds it."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.signal_number = signal_number


class StopRequest:
    """While entered, the first signal is noted in `signal_number`; a second one acts at once.

    A signal that the process ignores stays ignored.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, object] = {}

    def _note(self, signal_number: int, frame: FrameType | None) -> None:
        self.signal_number = signal_number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # else signals are not ours
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()
