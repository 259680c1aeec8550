"""Rounds numbers that people read: tiny ones keep their digits, and so does a narrow interval around a great one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

TINY = 1e-4  # numbers below it are written with an exponent
ALL = Context(prec=800)  # digits: those of any number of 64 bits, from 1e308 to 1e-308, and of its rounding
EQUAL = 1e-9  # the width of an interval relative to its ends, below which it comes from rounding errors


def fixed(value: float, decimals: int, sign: str = "") -> str:
    """Return a number with that many decimals, or more below 1: three digits, and four where all would be zeros."""
    if not 0 < abs(value) < 1:
        return format(value, f"{sign}.{decimals}f")
    first = -math.floor(math.log10(abs(value)))  # the decimal of the first digit
    if round(value, decimals) == 0 or abs(value) < TINY:
        return format(value, f"{sign}.{max(4, decimals - first + 1)}g")
    return format(value, f"{sign}.{max(decimals, first + 2)}f")


def with_interval(mean: float, interval: tuple[float, float] | None, decimals: int) -> tuple[str, str]:
    """Return a mean, as `fixed` or with as many decimals as its interval, and the interval.

    The interval is rounded outwards to two digits of its width, so that it contains the mean as shown too. A dash
    stands for none; between two ends it would look like a sign.
    """
    if interval is None:
        return fixed(mean, decimals), "-"
    low, high = interval
    if not high - low > EQUAL * max(abs(low), abs(high)):
        return (fixed(mean, decimals),) * 2
    needed = max(0, 1 - math.floor(math.log10(high - low)))
    ends = _rounded(low, needed, ROUND_FLOOR), _rounded(high, needed, ROUND_CEILING)
    kind = ".15g" if max(map(abs, ends)) < TINY else f".{needed}f"
    return fixed(mean, max(decimals, needed)), " … ".join(format(end, kind) for end in ends)


def p_value_text(content: Mapping[str, Any]) -> str:
    """Return the p-value of the comparison in a summary.json or eval.json, and whether its worlds were different."""
    pair, apart = content.get("paired"), content.get("unpaired")
    if pair:
        return f"{pair['p_value']:.2g}"
    return f"{apart['p_value']:.2g} (unpaired)" if apart else "-"


def _rounded(value: float, decimals: int, direction: str) -> float:
    return float(Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), direction, ALL))
