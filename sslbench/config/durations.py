"""What takes longer than a training has steps: said, as its results would not show why."""

import math

FORGOTTEN = 0.05
"""An average may keep this share of what it began with."""


def slow_average(setting: str, value: float, decay: float, num_steps: int) -> list[str]:
    """Return a line where an exponential average over steps ends with what it began with.

    `decay` is the share that it keeps at each step; `value` is what the setting has, which is the
    decay itself or, as a momentum is, what it lacks of 1.
    """
    left = decay**num_steps
    if left <= FORGOTTEN:
        return []
    enough = FORGOTTEN ** (1 / num_steps)
    digits = 1 + math.ceil(-math.log10(1 - enough))
    enough = math.floor(enough * 10**digits) / 10**digits
    better = f"{enough if value == decay else 1 - enough:.{digits}f}"
    return [
        f"{setting}={value:g} averages over more steps than the {num_steps:,} here, and keeps "
        f"{left:.0%} of what it began with; {setting}={better} would keep {FORGOTTEN:.0%}"
    ]
