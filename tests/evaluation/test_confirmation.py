"""A steered policy counts as better only where new worlds show it significantly, in pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, wilcoxon

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


def test_returns_are_compared_by_wilcoxons_signed_rank_test() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 1, 40), rng.normal(0.5, 1, 40)
    one, other = (Evaluation(tuple(range(40)), None, tuple(map(float, r)), (1,) * 40) for r in (before, after))
    expected = float(wilcoxon(after - before, alternative="greater").pvalue)
    assert p_better(one, other) == pytest.approx(expected)
    assert p_better(one, one) == 1.0


def test_a_policy_that_wins_almost_everywhere_but_has_the_lower_mean_return_is_not_confirmed() -> None:
    def play(steered: bool, first: int, num: int) -> Evaluation:
        seeds = range(first, first + num)
        returns = tuple((1.0 if seed % 10 else -100.0) if steered else 0.0 for seed in seeds)
        return Evaluation(tuple(seeds), None, returns, (1,) * num)

    found = confirm(
        lambda first, num: play(False, first, num),
        lambda first, num: play(True, first, num),
        first_seed=0,
        episodes=100,
        batch=32,
    )
    assert found.p_value < found.threshold
    assert (found.better, found.worlds, found.base, found.steered) == (False, 100, 0.0, pytest.approx(-9.1))


def test_worlds_that_can_confirm_nothing_are_refused_and_the_fewest_that_are_not_suffice() -> None:
    for episodes in (1, FEWEST - 1):
        with pytest.raises(ValueError, match=f"confirm_episodes={episodes} can confirm nothing: .* type {FEWEST} or"):
            check_confirmation(episodes)
        assert not _confirm(0.0, 1.0, episodes=episodes).better
    for episodes in (0, FEWEST):
        check_confirmation(episodes)
    assert _confirm(0.0, 1.0, episodes=FEWEST).better
