"""Successes of the same worlds under several draws of one noise: rates, the best of k draws, a paired test.

evaluations, one per draw -> successes [W, n]        W worlds, n draws
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.statistics import sign_flip_test


@dataclass(frozen=True)
class Outcomes:
    """Successes [W, n] of W worlds under n draws of one noise."""

    successes: NDArray[np.bool_]

    @property
    def rate(self) -> float:
        """The success rate over all episodes."""
        return float(self.successes.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of `rate` in new worlds, with the effective number of episodes.

        Draws in one world share its difficulty: W worlds whose draws all agree tell as much as W episodes.
        """
        return wilson_of_mean(self.rate, self._effective())

    def _effective(self) -> float:
        """Return how many independent episodes have a rate that varies as much as this one, from W to W · n."""
        worlds, episodes = len(self.successes), self.successes.size
        variance = self.successes.mean(1).var(ddof=1) / worlds if worlds > 1 else 0.0
        if variance == 0.0:
            return worlds
        return float(np.clip(self.rate * (1.0 - self.rate) / variance, worlds, episodes))

    @property
    def draws(self) -> int:
        """The number of draws per world."""
        return self.successes.shape[1]

    @property
    def mixed(self) -> int:
        """The number of worlds that some draws solve and some fail."""
        return int((self.successes.any(1) & ~self.successes.all(1)).sum())

    def pass_at(self, k: int) -> float:
        """Return the share of worlds that the best of `k` draws solves: 1 - C(n-c, k) / C(n, k), averaged over worlds.

        Unbiased for any k up to n (Chen et al., arXiv 2107.03374, eq. 1). Raises ValueError beyond.
        """
        num = self.draws
        if not 1 <= k <= num:
            raise ValueError(f"pass@{k} needs at least {k} draws, not {num}; choose k from 1 to {num}")
        failures = num - self.successes.sum(1)
        missed = np.ones(len(failures))
        for i in range(k):  # the probability that k draws without replacement all fail
            missed *= np.maximum(failures - i, 0) / (num - i)
        return float(1 - missed.mean())

    def pass_interval(self, k: int) -> tuple[float, float]:
        """Return a 95 % Wilson interval of `pass_at(k)`; conservative: numbers in [0, 1] vary less than hits."""
        return wilson_of_mean(self.pass_at(k), len(self.successes))


def outcomes_of(played: Sequence[Evaluation], threshold: float | None) -> Outcomes:
    """Return the successes of evaluations of the same worlds; where undefined, returns of `threshold` or more."""
    columns = [np.array(one.returns) >= threshold if one.successes is None else one.successes for one in played]
    return Outcomes(np.array(columns, dtype=bool).T)


def p_value(first: Outcomes, second: Outcomes) -> float:
    """Return the p-value of equal success: a two-sided sign-flip test of the worlds' mean differences."""
    return sign_flip_test((first.successes.mean(1) - second.successes.mean(1)).tolist(), two_sided=True)


def mean_difference(first: Outcomes, second: Outcomes, share: float) -> tuple[float, float]:
    """Return the mean of `first` - `share` · `second` over worlds, and its standard error.

    The error is 0 where all worlds differ alike, and infinite for a single world.
    """
    differences = first.successes.mean(1) - share * second.successes.mean(1)
    num = len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(num)) if num > 1 else float("inf")
    return float(differences.mean()), error


def wilson_of_mean(mean: float, num: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate `mean` over `num` trials; both may be fractional."""
    z2 = 1.959963984540054**2
    centre = (mean + z2 / (2 * num)) / (1 + z2 / num)
    half = np.sqrt(z2 * (mean * (1 - mean) / num + z2 / (4 * num**2))) / (1 + z2 / num)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
