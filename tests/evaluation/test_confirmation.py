"""A steered policy counts as better only where new worlds show it significantly, in pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from dsrl.evaluation.confirmation import FEWEST, SIGNIFICANCE, Confirmation, check_confirmation, confirm, p_better
from dsrl.evaluation.episodes import Evaluation


def _evaluation(seeds: range, rate: float, draw: int) -> Evaluation:
    """World s succeeds where its own draw lies below `rate`."""
    won = tuple(bool(np.random.default_rng([seed, draw]).random() < rate) for seed in seeds)
    return Evaluation(tuple(seeds), won, tuple(map(float, won)), (1,) * len(won))


def _confirm(base: float, steered: float, first_seed: int = 0, episodes: int = 256) -> Confirmation:
    return confirm(
        lambda first, num: _evaluation(range(first, first + num), base, 0),
        lambda first, num: _evaluation(range(first, first + num), steered, 1),
        first_seed=first_seed,
        episodes=episodes,
        batch=32,
    )


def test_a_clear_gain_is_confirmed_after_few_worlds() -> None:
    found = _confirm(0.3, 0.95)
    assert found.better
    assert found.worlds == 32


def test_a_clear_loss_is_noticed_after_few_worlds() -> None:
    found = _confirm(0.9, 0.3)
    assert not found.better
    assert found.worlds == 32


def test_an_equal_policy_is_confirmed_in_no_more_than_one_of_twenty_runs() -> None:
    confirmed = sum(_confirm(0.5, 0.5, first_seed=1000 * run).better for run in range(200))
    assert confirmed <= binom.ppf(0.999, 200, SIGNIFICANCE)


def test_a_moderate_gain_takes_more_worlds_and_is_mostly_found() -> None:
    found = [_confirm(0.5, 0.75, first_seed=1000 * run) for run in range(20)]
    assert sum(one.better for one in found) >= 15
    assert max(one.worlds for one in found) > 32


def test_all_worlds_are_used_where_nothing_is_clear_and_the_last_batch_may_be_smaller() -> None:
    found = _confirm(0.5, 0.5, first_seed=7, episodes=100)
    assert found.worlds in (32, 64, 96, 100)
    same = confirm(
        lambda first, num: _evaluation(range(first, first + num), 0.5, 0),
        lambda first, num: _evaluation(range(first, first + num), 0.5, 0),
        first_seed=0,
        episodes=100,
        batch=32,
    )
    assert (same.worlds, same.p_value, same.better) == (100, 1.0, False)


def test_successes_are_compared_by_the_one_sided_sign_test() -> None:
    base = Evaluation((0, 1, 2, 3), (False, False, False, True), (0.0,) * 4, (1,) * 4)
    steered = Evaluation((0, 1, 2, 3), (True, True, True, True), (0.0,) * 4, (1,) * 4)
    assert p_better(base, steered) == pytest.approx(1 / 8)
    assert p_better(steered, base) == 1.0


def test_mean_returns_are_compared_by_a_sign_flip_test() -> None:
    """Of few worlds it tries all signs but for chance: 8 of 8 differences above 0 are 1 of 2^8 choices of signs."""
    one, other = (Evaluation(tuple(range(8)), None, (r,) * 8, (1,) * 8) for r in (0.0, 2.5))
    assert p_better(one, other) == pytest.approx(1 / 2**8, abs=2e-3)
    assert p_better(other, one) == 1.0
    assert p_better(one, one) == 1.0


def _returns(first: int, num: int, most: float, tenth: float) -> Evaluation:
    """Every tenth world returns `tenth`, the others `most`."""
    returns = tuple(most if seed % 10 else tenth for seed in range(first, first + num))
    return Evaluation(tuple(range(first, first + num)), None, returns, (1,) * num)


@pytest.mark.parametrize(
    ("most", "tenth", "better"),
    [(1.0, -100.0, False), (-1.0, 100.0, True), (0.1, 0.1, True), (-0.1, -0.1, False)],
    ids=["great losses in some worlds", "great gains in some worlds", "small gains", "small losses"],
)
def test_of_returns_the_mean_decides_after_all_worlds(most: float, tenth: float, better: bool) -> None:
    found = confirm(
        lambda first, num: _returns(first, num, 0.0, 0.0),
        lambda first, num: _returns(first, num, most, tenth),
        first_seed=0,
        episodes=100,
        batch=32,
    )
    assert (found.better, found.worlds, found.threshold, found.base) == (better, 100, SIGNIFICANCE, 0.0)
    assert found.steered == pytest.approx(0.9 * most + 0.1 * tenth)


def _confirmed(falls: int, fall: float, otherwise: float) -> bool:
    """Return whether a policy is confirmed that changes the return by `fall` in some of 256 worlds."""
    num = 256

    def play(returns: list[float]) -> Callable[[int, int], Evaluation]:
        return lambda first, num: Evaluation(tuple(range(num)), None, tuple(returns), (1,) * num)

    base, steered = play([0.0] * num), play([fall] * falls + [otherwise] * (num - falls))
    return confirm(base, steered, first_seed=0, episodes=num, batch=num).better


@pytest.mark.parametrize("rate", [0.05, 0.02])
def test_small_gains_paid_by_rare_falls_are_confirmed_in_no_more_than_one_of_twenty_runs(rate: float) -> None:
    """Exactly: the probability of so many falls in 256 worlds, summed over the numbers that are confirmed."""
    most = math.ceil(256 * rate)  # above it the mean is below 0
    confirmed = [falls for falls in range(most + 1) if _confirmed(falls, -1.0, rate / (1 - rate))]
    assert binom.pmf(confirmed, 256, rate).sum() <= SIGNIFICANCE


def test_clear_gains_are_confirmed_in_spite_of_rare_falls_and_so_are_rare_prizes() -> None:
    assert _confirmed(falls=5, fall=-1.0, otherwise=0.2)
    assert _confirmed(falls=30, fall=100.0, otherwise=-1.0)


def test_worlds_that_can_confirm_nothing_are_refused_and_the_fewest_that_are_not_suffice() -> None:
    for episodes in (1, FEWEST - 1):
        with pytest.raises(ValueError, match=f"confirm_episodes={episodes} can confirm nothing: .* type {FEWEST} or"):
            check_confirmation(episodes)
        assert not _confirm(0.0, 1.0, episodes=episodes).better
    for episodes in (0, FEWEST):
        check_confirmation(episodes)
    assert _confirm(0.0, 1.0, episodes=FEWEST).better
