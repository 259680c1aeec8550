"""Confirms that a steered policy is better than its base, in worlds that chose nothing, before a run returns it.

    batches of new worlds, base and steered in the same ones -> one-sided paired test -> better | not better

The best of many checkpoints is partly luck, and validations chose it; these worlds did not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dsrl.evaluation.episodes import Evaluation, concatenated
from dsrl.evaluation.statistics import FLIPS, sign_flip_test, sign_test, skewed_mean_test

SIGNIFICANCE = 0.05  # of the whole confirmation: each of its looks gets an equal share (Bonferroni)
FEWEST = math.ceil(-math.log2(SIGNIFICANCE))  # worlds in which a policy that wins in all of them is confirmed
FEW_RETURNS = 64  # worlds, below which rare great losses pass too often: docs/running.md has the rates


@dataclass(frozen=True)
class Confirmation:
    """The result of a confirmation."""

    better: bool  # significantly
    p_value: float  # of the last look: how likely an equal policy is to win as clearly
    threshold: float  # that p_value had to fall below
    base: float  # score in these worlds
    steered: float
    worlds: int


def check_confirmation(episodes: int, num_worlds: int | None = None) -> None:
    """Raise ValueError for a number of worlds in which nothing can be confirmed; 0 is none, and no confirmation.

    `num_worlds` is how many the task has, None for endless ones.
    """
    if 0 < episodes < FEWEST:
        enough = num_worlds is None or num_worlds >= FEWEST
        advice = f"type {FEWEST} or more, or 0" if enough else f"the task has {num_worlds}; type confirm_episodes=0"
        raise ValueError(
            f"confirm_episodes={episodes} can confirm nothing: winning in all of so few worlds may still be chance; "
            f"{advice} to return the steered policy without a confirmation"
        )


def few_returns(episodes: int) -> str | None:
    """Return a sentence where `episodes` worlds are too few for mean returns to hold the promise of 5 %, or None."""
    if not 0 < episodes < FEW_RETURNS:
        return None
    return (
        f"confirm_episodes={episodes} are few for mean returns: where rare worlds lose much, a policy no better "
        f"may be confirmed in more than 5 % of runs; {FEW_RETURNS} or more come nearer to it, 256 nearest"
    )


def confirm(
    play_base: Callable[[int, int], Evaluation],
    play_steered: Callable[[int, int], Evaluation],
    *,
    first_seed: int,
    episodes: int,
    batch: int,
) -> Confirmation:
    """Play both policies in the same worlds from `first_seed` until one is significantly better, `episodes` at most.

    `play_base(first_seed, num)` and `play_steered` evaluate in `num` worlds; a look at the result follows each `batch`.
    Returns are tested once, in all worlds: a few great losses or gains may decide their mean, and those come late.
    """
    threshold = SIGNIFICANCE / -(-episodes // batch)
    base: Evaluation | None = None
    steered: Evaluation | None = None
    for start in range(0, episodes, batch):
        num = min(batch, episodes - start)
        base = concatenated(base, play_base(first_seed + start, num))
        steered = concatenated(steered, play_steered(first_seed + start, num))
        if base.successes is None:
            threshold = SIGNIFICANCE
            if start + num < episodes:
                continue
        p_value, worse = p_confirmed(base, steered), p_better(steered, base)
        if min(p_value, worse) < threshold:
            break
    assert base is not None
    assert steered is not None
    return Confirmation(p_value < threshold, p_value, threshold, base.score, steered.score, len(base.seeds))


def p_confirmed(base: Evaluation, steered: Evaluation) -> float:
    """Return the one-sided p-value of `steered` being better, of returns the larger one of two tests.

    A policy that gains a little in most worlds and falls badly in a few would pass sign flips far too often, because
    these assume symmetric differences: Hall's test has to agree. A sign test of successes assumes nothing.
    """
    p_value = p_better(base, steered)
    if base.successes is not None and steered.successes is not None:
        return p_value
    return max(p_value, skewed_mean_test(differences(base, steered)))


def p_better(one: Evaluation, other: Evaluation, flips: int = FLIPS) -> float:
    """Return the one-sided p-value of `other` being better than `one` in the same worlds.

    Successes are compared by the exact sign test (one-sided McNemar), mean returns by a sign-flip test
    with `flips` flips. Both stay valid where seeds do not repeat the worlds.
    """
    # In independent worlds, too, equal policies are as likely to win a pair as to lose it: by simulation of 8 looks at
    # 256 pairs, 1 to 2 % of equal policies are confirmed, whatever their success.
    if one.successes is not None and other.successes is not None:
        pairs = list(zip(one.successes, other.successes, strict=True))
        return sign_test(pairs.count((False, True)), pairs.count((True, False)))
    return sign_flip_test(differences(one, other), flips=flips)


def differences(one: Evaluation, other: Evaluation) -> list[float]:
    """Return how much more `other` returned, world by world."""
    return [after - before for before, after in zip(one.returns, other.returns, strict=True)]
