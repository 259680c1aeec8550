"""Computes interquartile mean, stratified-bootstrap intervals and probability of improvement from few seeds.

The definitions are those of rliable (Agarwal et al. 2021, arXiv 2108.13264), computed by scipy: rliable 1.2.0 draws its
resamples from NumPy's global state and ignores the `random_state` it is given, so its intervals do not repeat, and it
brings seven packages. Scores are lists, one per task (the strata), of one number per seed; tasks may differ in seeds,
and weigh alike all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scores = Mapping[str, Sequence[float]]  # task -> one final score per seed
Interval = tuple[float, float]
Statistic = Callable[..., Floats]  # (*samples [..., n_i], axis=-1) -> [...]

RESAMPLES = 10_000
TRIMMED = 0.25  # of either end


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % stratified-bootstrap interval; None where a task has a single seed."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Improvement:
    """How probably a run of one method beats a run of another on the same task (ties count half)."""

    probability: float
    interval: Interval | None
    p_value: Mapping[str, float]  # task -> two-sided Mann-Whitney test


def middle(scores: Scores) -> float:
    """Return the interquartile mean without its interval."""
    return float(_trimmed_mean(*map(np.asarray, scores.values())))


def iqm(scores: Scores) -> Estimate:
    """Return the interquartile mean: of the middle half of all runs, robust to outliers.

    Tasks weigh alike: where they differ in seeds, a run weighs 1 / seeds of its task.
    """
    return _estimate(list(scores.values()), _trimmed_mean)


def mean(scores: Scores) -> Estimate:
    """Return the mean over tasks of the mean over seeds."""
    return _estimate(list(scores.values()), _mean_of_means)


def improvement(ours: Scores, theirs: Scores) -> Improvement | None:
    """Return P(a run of ours > a run of theirs), averaged over the tasks of both; None without a common task."""
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    samples = [[float(x) for x in side[task]] for side in (ours, theirs) for task in shared]
    return Improvement(
        probability=float(_mean_probability(*map(np.asarray, samples))),
        interval=_interval(samples, _mean_probability),
        p_value={task: _p_value(ours[task], theirs[task]) for task in shared},
    )


def _p_value(ours: Sequence[float], theirs: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    if len({*ours, *theirs}) == 1:
        return 1.0  # every ordering of equal scores is as extreme as this one; scipy divides by their spread, 0
    return float(mannwhitneyu(ours, theirs, alternative="two-sided").pvalue)


def curve(xs: Sequence[Sequence[float]], ys: Sequence[Sequence[float]]) -> tuple[Floats, list[Estimate]]:
    """Return one curve for several runs: the IQM of their curves, each linear between its points.

    The grid is every x of any run within the range that all runs cover; empty where there is none.
    """
    begin, end = max(map(min, xs)), min(map(max, xs))
    grid = np.unique([float(x) for own in xs for x in own if begin <= x <= end])
    values = np.array([np.interp(grid, own_x, own_y) for own_x, own_y in zip(xs, ys, strict=True)])
    return grid, [_estimate([list(column)], _trimmed_mean, resamples=2_000) for column in values.T]


def _estimate(samples: Sequence[Sequence[float]], statistic: Statistic, resamples: int = RESAMPLES) -> Estimate:
    value = float(statistic(*map(np.asarray, samples)))
    return Estimate(value, _interval(samples, statistic, resamples))


def _interval(samples: Sequence[Sequence[float]], statistic: Statistic, resamples: int = RESAMPLES) -> Interval | None:
    """Return the 95 % percentile bootstrap: seeds are drawn anew within each stratum, which never mix."""
    from scipy.stats import bootstrap

    if min(map(len, samples)) < 2:
        return None
    options: dict[str, Any] = {"method": "percentile", "n_resamples": resamples, "vectorized": True}
    found = bootstrap(samples, statistic, confidence_level=0.95, rng=np.random.default_rng(0), **options)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _trimmed_mean(*samples: Floats, axis: int = -1) -> Floats:
    from scipy.stats import trim_mean

    if len({sample.shape[axis] for sample in samples}) > 1:
        return _weighted_trimmed_mean([np.moveaxis(sample, axis, -1) for sample in samples])
    trimmed: Floats = trim_mean(np.concatenate(samples, axis=axis), TRIMMED, axis=axis)
    return trimmed


def _weighted_trimmed_mean(samples: Sequence[Floats]) -> Floats:
    """Return the trimmed mean over the last axis, with an equal weight for each task however many runs it has.

    Either end loses the share that scipy's trim_mean cuts of as many values: a whole number of runs where they weigh
    alike. Where they do not, the run at the edge loses a part of its weight.
    """
    values = np.concatenate(samples, axis=-1)  # [..., runs]
    weights = np.concatenate([np.full(n, 1 / (len(samples) * n)) for n in (one.shape[-1] for one in samples)])
    order = np.argsort(values, axis=-1)
    own = weights[order]
    end = np.cumsum(own, axis=-1)  # from 0, the worst run, to 1
    cut = int(TRIMMED * len(weights)) / len(weights)
    inside = np.clip(np.minimum(end, 1 - cut) - np.maximum(end - own, cut), 0, None)
    trimmed: Floats = (np.take_along_axis(values, order, -1) * inside).sum(-1) / inside.sum(-1)
    return trimmed


def _mean_of_means(*samples: Floats, axis: int = -1) -> Floats:
    means: Floats = np.mean([sample.mean(axis=axis) for sample in samples], axis=0)
    return means


def _mean_probability(*samples: Floats, axis: int = -1) -> Floats:
    """Return P(x > y) + P(x = y) / 2, averaged over tasks; the first half of the samples is x, task by task."""
    half = len(samples) // 2
    per_task = []
    for x, y in zip(samples[:half], samples[half:], strict=True):
        x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
        per_task.append(((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1)))
    averaged: Floats = np.mean(per_task, axis=0)
    return averaged
