"""Statistics of evaluations, from plain numbers: means, intervals, tests in pairs and in different worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLIPS = 9999  # of the signs of differences
_SIGNS_AT_ONCE = 2**18  # drawn: all flips of many worlds would fill the memory


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
    return wilson_of_mean(successes / episodes, episodes)


def wilson_of_mean(mean: float, num: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate `mean` over `num` trials; both may be fractional."""
    z = 1.959963984540054
    scale = 2 * (num + z**2)
    centre = (2 * num * mean + z**2) / scale
    half = z / scale * float(np.sqrt(4 * num * mean * (1 - mean) + z**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return low if mean > 0 else 0.0, high if mean < 1 else 1.0


def mcnemar(base: Sequence[bool], steered: Sequence[bool]) -> dict[str, Any]:
    """Compare two policies in the same worlds: counts of the four outcomes and the exact (binomial) McNemar p-value."""
    from scipy.stats import binomtest  # seconds to import

    pairs = [(bool(before), bool(after)) for before, after in zip(base, steered, strict=True)]
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    return {"both": both, "only_steered": gained, "only_base": lost, "neither": neither, "p_value": p_value}


def fisher(base: Sequence[bool], steered: Sequence[bool]) -> float:
    """Return the two-sided p-value of equal success in different worlds: Fisher's exact test."""
    from scipy.stats import fisher_exact

    table = [[sum(side), len(side) - sum(side)] for side in (base, steered)]
    return float(fisher_exact(table).pvalue)


def welch(base: Sequence[float], steered: Sequence[float]) -> float:
    """Return the two-sided p-value of equal means in different worlds: Welch's test; 1 for a single world.

    Means without any spread are certain: 1 where they are equal, else 0.
    """
    from scipy.stats import ttest_ind_from_stats

    if min(len(base), len(steered)) < 2:
        return 1.0
    scale = max(map(abs, (*base, *steered))) or 1.0
    first, second = (np.array(side, dtype=np.float64) / scale for side in (base, steered))
    (mean, spread), (other, other_spread) = ((side.mean(), side.std(ddof=1)) for side in (first, second))
    if max(spread, other_spread) <= 1e-9:  # rounding
        return float(abs(mean - other) <= 1e-9)
    found = ttest_ind_from_stats(mean, spread, len(first), other, other_spread, len(second), equal_var=False)
    return float(found.pvalue)


def sign_test(gained: int, lost: int) -> float:
    """Return the one-sided p-value of `gained` or more wins among `gained + lost` fair coins; 1 without any."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0


def sign_flip_test(differences: Sequence[float], *, two_sided: bool = False, flips: int = FLIPS) -> float:
    """Return the p-value of a mean above 0, or of one as far from it: how often random signs lead as far; 1 for zeros.

    A test of the mean, which the scores of policies are: a test of ranks lets many small gains outvote one great loss.
    The signs are drawn `flips` times: no p-value is below 1 / (1 + flips).
    """
    moved = np.array([value for value in differences if value != 0], dtype=np.float64)
    flipped, total = _flipped_sums(moved, flips), moved.sum()
    if two_sided:
        flipped, total = np.abs(flipped), abs(total)
    rounding = 1e-9 * float(np.abs(moved).sum())
    return float((1 + (flipped >= total - rounding).sum()) / (1 + flips))


def _flipped_sums(values: NDArray[np.float64], flips: int) -> NDArray[np.float64]:
    """Return the sums [flips] of `values` [n], which have other random signs in each."""
    random = np.random.default_rng(0)
    rows = max(1, _SIGNS_AT_ONCE // max(1, len(values)))
    blocks = [min(rows, flips - done) for done in range(0, flips, rows)]
    return np.concatenate([random.choice([-1.0, 1.0], (block, len(values))) @ values for block in blocks])


def sign_flip_bound(differences: Sequence[float]) -> float:
    """Return an upper bound of the one-sided p-value of all sign flips, as small as that may be; 1 for zeros.

    Chernoff's: random signs lead as far as the sum of x with a probability of at most the product of
    (1 + exp(-2 t x)) / 2, for each t > 0. Where all x are above 0 the least of these is exact, 1 / 2^n.
    """
    moved = np.array([value for value in differences if value != 0], dtype=np.float64)
    moved /= np.abs(moved).max(initial=0.0) or 1.0
    tried = np.geomspace(1e-2, 1e6, 500)  # each is a bound, so that a grid suffices
    logarithms = [(np.logaddexp(0.0, -2.0 * one * moved) - np.log(2.0)).sum() for one in tried]
    return float(np.exp(min(0.0, *logarithms)))


def skewed_mean_test(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of a mean above 0 among skewed differences: Hall's transformation of Student's t.

    Random signs take a great fall for as likely as a great gain. Where falls are rare, most samples have too few of
    them, and so too high a mean beside too small a spread; a cubic of t with the skewness corrects for both. Equal
    differences are certain: 0 above 0, else 1. Source: P. Hall, On the removal of skewness by transformation (1992).
    """
    from scipy.stats import norm, skew

    values = np.array(differences, dtype=np.float64)
    values /= np.abs(values).max() or 1.0
    num, mean, spread = len(values), float(values.mean()), float(values.std(ddof=min(1, len(values) - 1)))
    if spread <= 1e-9:  # rounding
        return float(mean <= 1e-9)
    ratio, skewness = mean / spread, float(skew(values))
    cubic = ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * num)
    return float(norm.sf(num**0.5 * cubic))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean by Student's t; None for a single value."""
    from scipy.stats import t

    if len(values) < 2:
        return None
    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half
