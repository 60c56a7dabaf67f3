"""What a person sees while a cell trains: a bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
SHOWN = ("loss", "accuracy", "val_accuracy")


class ProgressReport:
    """Loss, accuracy, images per second and the time left."""

    def __init__(self, total_steps: int, start: int, images_per_step: int, *, bar: bool) -> None:
        self._total, self._start, self._images = total_steps, start, images_per_step
        self._began = self._last_line = time.monotonic()
        options = {"total": total_steps, "initial": start, "unit": "step", "file": sys.stderr}
        self._bar = tqdm(**options) if bar else None

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Show where training stands; plain lines come at most every 30 seconds."""
        now = time.monotonic()
        rate = (step - self._start) / max(now - self._began, 1e-9)
        shown = [f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics]
        text = ", ".join([*shown, f"{rate * self._images:.0f} img/s"])
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or step == self._total:
            self._last_line = now
            left = (self._total - step) / max(rate, 1e-9)
            log.info("step %d/%d: %s, %.0f s left", step, self._total, text, left)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
