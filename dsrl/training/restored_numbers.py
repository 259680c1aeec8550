"""Checks the numbers of a state to continue from, which somebody may have changed: a wrong count trains without end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dsrl.foreign_json import short

MOST = 2**53  # of a count: logs take floats, in which whole numbers above are not exact
MOST_SECONDS = 1e10  # three centuries


def check_count(name: str, count: Any, most: int = MOST) -> None:
    """Raise ValueError for anything but a whole number from 0 to `most`."""
    if type(count) is not int or not 0 <= count <= most:
        raise ValueError(f"{name} is {short(count)}, not a whole number from 0 to {most}")


def check_counts(counts: Mapping[str, Any]) -> None:
    """Check each of some named counts. Raises ValueError."""
    for name, count in counts.items():
        check_count(name, count)


def check_finite_numbers(name: str, numbers: Iterable[Any]) -> None:
    """Raise ValueError where one of some numbers is not finite, TypeError where one is no number."""
    for number in numbers:
        if not math.isfinite(number):
            raise ValueError(f"{name} has {number}, which is not finite")


def check_seconds(name: str, seconds: Iterable[Any]) -> None:
    """Raise ValueError where a duration is not from 0 to `MOST_SECONDS`, TypeError where it is no number."""
    for number in seconds:
        if not 0 <= number <= MOST_SECONDS:
            raise ValueError(f"{name} has {short(number)}, not a number from 0 to {MOST_SECONDS:.0e}")
