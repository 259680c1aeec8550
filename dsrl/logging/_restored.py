"""Checks the state of a logger to continue from, which somebody may have changed: before a file is written by it."""

from __future__ import annotations

from typing import Any


def check_list(name: str, found: Any) -> None:
    """Raise ValueError for anything but a list."""
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"{name} are of type {type(found).__name__}, not a list")


def check_point(name: str, point: Any, *others: type) -> None:
    """Raise ValueError for anything but names with numbers, or with values of `others`."""
    if not isinstance(point, dict):
        raise ValueError(f"{name} is of type {type(point).__name__}, not an object of numbers")
    for key, value in point.items():
        if not isinstance(key, str) or type(value) not in (int, float, *others):
            raise ValueError(f"{name} has {str(key)[:60]!r} of type {type(value).__name__}, not a number")
