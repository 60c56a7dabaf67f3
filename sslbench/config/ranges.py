"""Rules for settings' values: each raises a ValueError that names the setting, value and rule."""

import math
from collections.abc import Sequence

LARGEST = 1e38
"""Of all numbers; about what a 32-bit float holds."""
MOST_IMAGES = 1_000_000
"""Of a step."""
MOST_STEPS = 10**9
MOST_CHANNELS = 65_536
"""Of a layer of an encoder."""
LARGEST_SEED = 2**63 - 1
"""torch's."""


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Refuse `name=value` unless it `holds`."""
    if not holds:
        raise ValueError(f"{name}={value}: {rule}")


def positive(name: str, value: float, most: float = LARGEST) -> None:
    """Require a finite value above 0, and at most `most`."""
    _finite(name, value)
    require(value > 0, name, value, "must be greater than 0")
    require(value <= most, name, value, f"must be at most {most:,}")


def not_negative(name: str, value: float, most: float = LARGEST) -> None:
    """Require a finite value of 0 or more, and at most `most`."""
    _finite(name, value)
    require(value >= 0, name, value, "must not be negative")
    require(value <= most, name, value, f"must be at most {most:,}")


def _finite(name: str, value: float) -> None:
    require(isinstance(value, int | float), name, value, "must be a number")
    require(not isinstance(value, float) or math.isfinite(value), name, value, "must be finite")


def all_positive(name: str, values: Sequence[float], most: float, longest: int) -> None:
    """Require a list of values above 0, each at most `most`, and at most `longest` of them."""
    holds = len(values) <= longest
    require(holds, name, values, f"has {len(values):,} values; at most {longest:,} are allowed")
    fit = all(isinstance(value, int | float) and 0 < value <= most for value in values)
    require(fit, name, values, f"each must be a number above 0, and at most {most:,}")


def fraction(name: str, value: float) -> None:
    """Require a value from 0 to 1."""
    require(0 <= value <= 1, name, value, "must lie between 0 and 1")


def below_one(name: str, value: float) -> None:
    """Require a value from 0 to 1, 1 excluded."""
    require(0 <= value < 1, name, value, "must lie in [0, 1)")


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Require one of the choices."""
    require(value in choices, name, value, f"must be one of {', '.join(choices)}")


def interval(name: str, bounds: list[float], low: float, high: float) -> None:
    """Require `[a, b]` with `low <= a <= b <= high`."""
    ordered = len(bounds) == 2 and low <= bounds[0] <= bounds[1] <= high
    require(ordered, name, bounds, f"must be [low, high] with {low} <= low <= high <= {high}")
