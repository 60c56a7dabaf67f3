"""Differences and verdicts in plain English."""

from collections.abc import Sequence

PLAIN = {"train acc": " in training accuracy", "val acc": " in validation accuracy", "test acc": ""}
NUMBERS = ("no", "one", "two")


def difference_in_words(
    comparison: str, difference: float, low: float, high: float, metric: str, interval_of: str
) -> str:
    """Say how far `A > B` is true; numbers are fractions.

    >>> difference_in_words("A > B", -0.086, -0.108, -0.065, "test acc", "images")
    'A is 8.6 points below B (95 % of images: 6.5 to 10.8)'
    """
    better, _, worse = comparison.partition(" > ")
    interval = f"(95 % of {interval_of}: {_interval(low, high)})"
    return (
        f"{better} is {_place(difference)} {worse}{PLAIN.get(metric, f' in {metric}')} {interval}"
    )


def mean_in_words(mean: float, low: float, high: float, interval_of: str) -> str:
    """Write an accuracy with its interval; numbers are fractions.

    >>> mean_in_words(0.85, 0.83, 0.87, "images")
    '85.0 % (95 % of images: 83.0 to 87.0)'
    """
    return f"{100 * mean:.1f} % (95 % of {interval_of}: {100 * low:.1f} to {100 * high:.1f})"


def _place(difference: float) -> str:
    points = f"{100 * abs(difference):.1f}"
    if float(points) == 0:
        return "level with"
    return f"{points} points {'above' if difference > 0 else 'below'}"


def _interval(low: float, high: float) -> str:
    if low > 0 or high < 0:
        least, most = sorted([abs(low), abs(high)])
        return f"{100 * least:.1f} to {100 * most:.1f}"
    below, above = (f"{abs(100 * bound):.1f}" for bound in (low, high))
    sides = " below" * (below != "0.0"), " above" * (above != "0.0")
    return f"{below}{sides[0]} to {above}{sides[1]}"


def seeds_in_words(numbers: Sequence[int]) -> str:
    """Write how many seeds there are: `one seed`, `3 seeds`, `1 to 3 seeds`.

    >>> seeds_in_words([1, 1]), seeds_in_words([3, 1])
    ('one seed', '1 to 3 seeds')
    """
    least, most = int(min(numbers)), int(max(numbers))
    if least != most:
        return f"{least} to {most} seeds"
    return f"{NUMBERS[least] if least < len(NUMBERS) else least} seed{'s' * (least != 1)}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Join names, `a, b and c`; of more than `most` the rest is counted.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 others'
    """
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} other{'s' * (len(names) - most > 1)}")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
