"""Parses JSON that somebody else wrote, in bounded depth, and words for messages what is wrong with it."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32  # nested lists and mappings; honest files have at most 8


def parse(content: bytes, *, finite: bool = False) -> Any:
    """Return the value of a JSON text without repeated keys or deep nesting; `finite`: without NaN and infinities too.

    Raises:
        ValueError: for any other content; its message is the end of a sentence that begins with the name of the file.
    """
    strict: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite_float} if finite else {}
    try:
        found = json.loads(content, object_pairs_hook=_unique_keys, **strict)
        check_depth(found)
    except RecursionError:
        raise ValueError("nests lists or mappings too deeply") from None
    except ValueError as error:  # of JSON, UTF-8, the length of a number, or the hooks
        raise ValueError(f"is not readable JSON ({first_line(error)})") from error
    return found


def check_depth(value: Any, deepest: int = MAX_DEPTH) -> None:
    """Raise RecursionError for a value with more than `deepest` levels of lists and mappings."""
    if deepest < 0:
        raise RecursionError("nested too deeply")
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            if isinstance(entry, dict | list):  # lists of numbers are long
                check_depth(entry, deepest - 1)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, for use inside a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".;:")


def short(value: Any) -> str:
    """Return a value on one line of about 60 characters at most."""
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)} entries"
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a number of more than 60 digits"
    shown = repr(value[:60] if isinstance(value, str) else value)
    return shown if len(shown) <= 62 else f"{shown[:57]}…"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no finite number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds {digits[:40]}, which is no finite number")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("it names a key twice")
    return unique
