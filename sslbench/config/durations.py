"""What takes longer than a training has steps: said, as its results would not show why."""

import math

FORGOTTEN = 0.05
"""An average may keep this share of what it began with."""


def slow_average(
    setting: str, decay: float, num_steps: int, *, is_momentum: bool = False
) -> list[str]:
    """Return a line where an exponential average over steps ends with what it began with.

    Args:
        decay: The share that it keeps at each step.
        is_momentum: Whether the setting is what the decay lacks of 1, as BatchNorm's is.
    """
    left = decay**num_steps
    if left <= FORGOTTEN:
        return []
    enough = FORGOTTEN ** (1 / num_steps)
    digits = 1 + math.ceil(-math.log10(1 - enough))
    enough = math.floor(enough * 10**digits) / 10**digits
    value, better = (1 - decay, 1 - enough) if is_momentum else (decay, enough)
    return [
        f"{setting}={value:g} averages over more steps than the {num_steps:,} here, and keeps "
        f"{left:.0%} of what it began with; {setting}={better:.{digits}f} would keep "
        f"{FORGOTTEN:.0%}"
    ]
