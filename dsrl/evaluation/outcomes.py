"""Scores of the same worlds under several draws of one noise: means, the best of k draws, a paired test.

evaluations, one per draw -> scores [W, n]        W worlds, n draws; successes, or returns where none are defined
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrl.evaluation.digits import fixed
from dsrl.evaluation.episodes import Evaluation, repeated
from dsrl.evaluation.statistics import mean_interval, sign_flip_test, wilson_of_mean


@dataclass(frozen=True)
class Outcomes:
    """Scores [W, n] of W worlds under n draws of one noise: successes (bool), or returns."""

    scores: NDArray[Any]
    repeated: bool = True  # whether all draws met the same worlds; else the best of them measures worlds as well

    @property
    def is_success(self) -> bool:
        """Whether the scores are successes, not returns."""
        return self.scores.dtype == np.bool_

    @property
    def score(self) -> float:
        """The success rate, or the mean return, over all episodes."""
        return float(self.scores.mean())

    @property
    def spread(self) -> float:
        """The standard deviation of scores within worlds, over draws of noise; 0 for a single draw."""
        return float(np.sqrt(self.scores.var(1, ddof=1).mean())) if self.draws > 1 else 0.0

    @property
    def unit(self) -> float:
        """The measure of differences: 1 in success; in returns twice their spread, which of a fair coin is 1, too.

        What a policy does not change has no part in it: the worlds' own differences, and what all episodes are paid.
        """
        return 1.0 if self.is_success else 2 * self.spread

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `score` in new worlds: Wilson's of a rate, Student's t of returns; None of one return.

        Draws in one world share its difficulty: W worlds whose draws all agree tell as much as W episodes.
        """
        if self.is_success:
            return wilson_of_mean(self.score, self._effective())
        return mean_interval(self.scores.mean(1).tolist())

    def _effective(self) -> float:
        """Return how many independent episodes have a rate that varies as much as this one, from W to W · n."""
        worlds, episodes = len(self.scores), self.scores.size
        variance = self.scores.mean(1).var(ddof=1) / worlds if worlds > 1 else 0.0
        if variance == 0.0:
            return worlds
        return float(np.clip(self.score * (1.0 - self.score) / variance, worlds, episodes))

    @property
    def draws(self) -> int:
        """The number of draws per world."""
        return self.scores.shape[1]

    @property
    def mixed(self) -> int:
        """The number of worlds in which draws differ."""
        return int((self.scores.min(1) != self.scores.max(1)).sum())

    def best_of(self, k: int) -> float:
        """Return the mean over worlds of the best of `k` draws; of successes, the share of worlds that it solves.

        Unbiased for any k up to n: the mean over all choices of k draws, for successes pass@k (Chen et al., arXiv
        2107.03374, eq. 1). Raises ValueError beyond.
        """
        return float(self._best_of(k).mean())

    def _best_of(self, k: int) -> NDArray[np.float64]:
        """Return the best of `k` draws in each world [W]: the i-th smallest is it in C(i - 1, k - 1) of C(n, k)."""
        num = self.draws
        if not 1 <= k <= num:
            raise ValueError(f"pass@{k} needs at least {k} draws, not {num}; choose k from 1 to {num}")
        shares = [comb(i, k - 1) / comb(num, k) for i in range(num)]
        best: NDArray[np.float64] = np.sort(self.scores.astype(np.float64), axis=1) @ np.array(shares)
        return best

    def best_interval(self, k: int) -> tuple[float, float] | None:
        """Return a 95 % interval of `best_of(k)`, None of one return.

        Wilson's of successes is conservative: numbers in [0, 1] vary less than hits.
        """
        if self.is_success:
            return wilson_of_mean(self.best_of(k), len(self.scores))
        return mean_interval(self._best_of(k).tolist())

    def text(self, score: float) -> str:
        """Return a score as it is shown: a percentage, or a return."""
        return f"{score:.0%}" if self.is_success else shown_return(score)


def shown_return(value: float, sign: str = "") -> str:
    """Return a return, or a difference of two, as it is shown; without decimals where it has many digits before."""
    return fixed(value, 2 if abs(value) < 1e5 else 0, sign)


def outcomes_of(played: Sequence[Evaluation], threshold: float | None = None) -> Outcomes:
    """Return the scores of evaluations of the same seeds.

    Where success is undefined, returns of `threshold` or more are successes; without a threshold, returns are scores.
    """
    returns = np.array([one.returns for one in played], dtype=np.float64).T
    if played[0].successes is not None:
        return Outcomes(np.array([one.successes for one in played], dtype=bool).T, repeated(played))
    return Outcomes(returns if threshold is None else returns >= threshold, repeated(played))


def p_value(first: Outcomes, second: Outcomes) -> float:
    """Return the p-value of equal scores: a two-sided sign-flip test of the worlds' mean differences."""
    return sign_flip_test((first.scores.mean(1) - second.scores.mean(1)).tolist(), two_sided=True)


def mean_difference(first: Outcomes, second: Outcomes, share: float) -> tuple[float, float]:
    """Return the mean of `first` - `share` · `second` over worlds, and its standard error.

    The error is 0 where all worlds differ alike, and infinite for a single world.
    """
    differences = first.scores.mean(1) - share * second.scores.mean(1)
    num = len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(num)) if num > 1 else float("inf")
    return float(differences.mean()), error
