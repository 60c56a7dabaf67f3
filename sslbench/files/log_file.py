"""The log of a cell, in its folder."""

import logging
from contextlib import suppress
from pathlib import Path


class LogFile(logging.FileHandler):
    """Keeps tracebacks too, which a terminal is spared; a disk that is full costs only its lines.

    A message's traceback comes as `extra={"traceback": text}`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        line = "%(asctime)s %(levelname)s %(name)s: %(message)s%(traceback)s"
        self.setFormatter(logging.Formatter(line, defaults={"traceback": ""}))

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()
