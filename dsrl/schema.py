"""Checks of JSON values that somebody else wrote: their types, ranges and names.

A check is a function of (where, value) that returns nothing and raises ValueError with one sentence:

    record({"chunk": integer(1, 1024)})("config.json", {"chunk": -3})
    ValueError: config.json: chunk=-3 but it must be a whole number of 1 to 1024
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from dsrl.foreign_json import short

Check = Callable[[str, Any], None]


def integer(low: int, high: int) -> Check:
    """Check for a whole number in [low, high]; true and false are not numbers."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            refuse(where, value, f"a whole number of {low} to {high}")

    return check


def number(low: float, high: float) -> Check:
    """Check for a finite number in [low, high]."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not _finite_within(value, low, high):
            refuse(where, value, f"a number of {low:g} to {high:g}")

    return check


def positive(high: int) -> Check:
    """Check for a number above 0 and up to `high`."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= high:
            refuse(where, value, f"a number above 0 and up to {high}")

    return check


def flag(where: str, value: Any) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        refuse(where, value, "true or false")


def anything(where: str, value: Any) -> None:
    """Check nothing, where a later reader checks."""


def constant(expected: Any) -> Check:
    """Check for one value."""

    def check(where: str, value: Any) -> None:
        if value != expected or type(value) is not type(expected):
            refuse(where, value, repr(expected))

    return check


def choice(*options: str) -> Check:
    """Check for one of some strings."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, str) or value not in options:
            refuse(where, value, f"one of {', '.join(options)}")

    return check


def text(pattern: str = r"[^\x00]*", longest: int = 200, meaning: str = "") -> Check:
    """Check for a string that matches a regular expression; `meaning` describes it in the message."""
    compiled = re.compile(pattern)

    def check(where: str, value: Any) -> None:
        if not isinstance(value, str) or len(value) > longest or not compiled.fullmatch(value):
            refuse(where, value, meaning or f"a string of at most {longest} characters")

    return check


def optional(inner: Check) -> Check:
    """Check for null or for a value that passes `inner`."""

    def check(where: str, value: Any) -> None:
        if value is not None:
            inner(where, value)

    return check


def sequence(inner: Check, least: int, most: int) -> Check:
    """Check for a list of `least` to `most` entries that pass `inner`."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            refuse(where, value, f"a list of {least} to {most} entries")
        for i, entry in enumerate(value):
            inner(f"{where}[{i}]", entry)

    return check


def mapping(keys: Check, values: Check, most: int) -> Check:
    """Check for a JSON object of at most `most` entries."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, dict) or len(value) > most:
            refuse(where, value, f"a mapping of at most {most} entries")
        for key, entry in value.items():
            keys(f"a key of {where}", key)
            values(_below(where, key), entry)

    return check


def record(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Check for a JSON object with no other keys than `fields`; those in `required` must be there."""

    def check(where: str, value: Any) -> None:
        if not isinstance(value, dict):
            refuse(where, value, "a mapping")
        unknown = [key for key in value if key not in fields]
        if unknown:
            known = f"it may have {', '.join(fields)}" if 0 < len(fields) <= 12 else "remove what it names"
            listed = ", ".join(short(key) for key in unknown[:8]) + (", …" if len(unknown) > 8 else "")
            raise ValueError(f"{where} has the unknown key{'s' * (len(unknown) > 1)} {listed}; {known}")
        missing = [key for key in required if key not in value]
        if missing:
            raise ValueError(f"{where} lacks the key {missing[0]}; it needs {', '.join(required)}")
        for key, entry in value.items():
            fields[key](_below(where, key), entry)

    return check


def refuse(where: str, value: Any, expected: str) -> None:
    """Raise the ValueError of a value that failed its check."""
    raise ValueError(f"{where}={short(value)} but it must be {expected}")


def _finite_within(value: float, low: float, high: float) -> bool:
    return low <= value <= high and (isinstance(value, int) or math.isfinite(value))


def _below(where: str, key: str) -> str:
    """The name of an entry: `file: key` for the outermost, `file: key.inner` further in."""
    return f"{where}.{key}" if ": " in where else f"{where}: {key}"
