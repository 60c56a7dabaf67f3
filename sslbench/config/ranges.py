"""Rules for settings' values: each raises a ValueError that names the setting, value and rule."""

import math
from collections.abc import Sequence


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Refuse `name=value` unless it `holds`."""
    if not holds:
        raise ValueError(f"{name}={value}: {rule}")


def positive(name: str, value: float) -> None:
    """Require a finite value above 0."""
    require(math.isfinite(value), name, value, "must be finite")
    require(value > 0, name, value, "must be greater than 0")


def not_negative(name: str, value: float) -> None:
    """Require a finite value of 0 or more."""
    require(math.isfinite(value), name, value, "must be finite")
    require(value >= 0, name, value, "must not be negative")


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
