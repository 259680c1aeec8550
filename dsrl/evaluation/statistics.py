"""Statistics of evaluations, from plain numbers: means, Wilson intervals, McNemar's and Wilcoxon's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def summarise(successes: Sequence[bool] | None, returns: Sequence[float], lengths: Sequence[int]) -> dict[str, Any]:
    """Return counts, the success rate with its 95 % Wilson interval, and means; null where success is not defined."""
    num = len(returns)
    numbers: dict[str, Any] = {"successes": None, "episodes": num, "success_rate": None, "ci95": None}
    if successes is not None:
        hits = int(sum(successes))
        numbers |= {"successes": hits, "success_rate": hits / num, "ci95": list(wilson(hits, num))}
    return {**numbers, "mean_return": float(np.mean(returns)), "mean_length": float(np.mean(lengths))}


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a success rate."""
    from scipy.stats import binomtest  # seconds to import

    interval = binomtest(successes, episodes).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(base: Sequence[bool], steered: Sequence[bool]) -> dict[str, Any]:
    """Compare two policies in the same worlds: counts of the four outcomes and the exact (binomial) McNemar p-value."""
    from scipy.stats import binomtest

    pairs = [(bool(before), bool(after)) for before, after in zip(base, steered, strict=True)]
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    return {"both": both, "only_steered": gained, "only_base": lost, "neither": neither, "p_value": p_value}


def sign_test(gained: int, lost: int) -> float:
    """Return the one-sided p-value of `gained` or more wins among `gained + lost` fair coins; 1 without any."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0


def signed_rank_test(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of Wilcoxon's signed-rank test for differences above 0; 1 where all are 0."""
    from scipy.stats import wilcoxon

    if not any(differences):
        return 1.0
    return float(wilcoxon(list(differences), alternative="greater").pvalue)
