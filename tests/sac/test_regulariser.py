"""The penalty of leaving the base policy's noise, the scale of rewards, and the bounds of values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tianshou.data import Batch, ReplayBuffer
from toys.replay import DIM, FEATURES, filled_buffer

from dsrl.sac._noise_policy import prior_std
from dsrl.sac._regulariser import Divergence, Entropy, regulariser_named
from dsrl.sac._returns import LARGEST, RewardScale, bounds, returns_to_go
from dsrl.training.replay_buffer import Replay

STD = prior_std(1.5)
NUMBERS = st.floats(-3.0, 3.0)


def divergence(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    return Divergence(math.log(STD), 1.0).penalty(mean, log_std, torch.zeros(len(mean)))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_the_divergence_is_torchs_own_for_each_number(numbers: list[tuple[float, float]]) -> None:
    mean, log_std = (torch.tensor([column], dtype=torch.float64) for column in zip(*numbers, strict=True))
    actor = torch.distributions.Normal(mean, log_std.exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), STD)
    expected = torch.distributions.kl_divergence(actor, prior).mean(1)
    torch.testing.assert_close(divergence(mean, log_std), expected, rtol=1e-6, atol=1e-9)


def test_the_base_policys_noise_is_free_and_all_other_noise_costs() -> None:
    at_prior = divergence(torch.zeros(1, 32), torch.full((1, 32), math.log(STD)))
    torch.testing.assert_close(at_prior, torch.zeros(1), rtol=0, atol=1e-6)
    for mean, log_std in ((0.1, math.log(STD)), (0.0, math.log(STD) + 0.1), (0.0, math.log(STD) - 0.1)):
        assert divergence(torch.full((1, 32), mean), torch.full((1, 32), log_std)) > 1e-3


def test_the_penalty_of_a_number_does_not_depend_on_how_many_there_are() -> None:
    few = divergence(torch.full((1, 4), 0.7), torch.full((1, 4), -1.0))
    many = divergence(torch.full((1, 1600), 0.7), torch.full((1, 1600), -1.0))
    torch.testing.assert_close(few, many)


def test_entropy_is_penalised_by_its_density_and_limited_by_its_target() -> None:
    log_prob = torch.tensor([1.0, -2.0])
    entropy = regulariser_named("entropy", STD, 1.0, "auto", 32)
    assert isinstance(entropy, Entropy)
    assert torch.equal(entropy.penalty(torch.zeros(2, 1), torch.zeros(2, 1), log_prob), log_prob)
    assert entropy.limit == 32.0
    assert regulariser_named("entropy", STD, 1.0, 0.0, 32).limit == 0.0


def test_a_regulariser_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sac.regulariser=trust must be kl or entropy"):
        regulariser_named("trust", STD, 1.0, "auto", 32)  # type: ignore[arg-type]


def episodes(rewards: list[list[float]], terminated: bool = True, scale: float = 1.0) -> ReplayBuffer:
    """Return a buffer with one part for each list of rewards, an episode whose last decision ends it."""
    buffer = Replay(16, len(rewards), 0)
    for world, earned in enumerate(rewards):
        for i, reward in enumerate(earned):
            end = i == len(earned) - 1
            flags = {"terminated": end and terminated, "truncated": end and not terminated, "done": end}
            still = np.zeros(FEATURES, np.float32)
            row = Batch(obs=still, obs_next=still, act=np.zeros(DIM, np.float32), rew=scale * reward, info={}, **flags)
            buffer.add(Batch.stack([row]), buffer_ids=np.array([world]))
    return buffer


def test_returns_are_discounted_within_an_episode_and_within_a_world() -> None:
    buffer = episodes([[1.0, 0.0, 2.0], [0.0, 4.0]])
    np.testing.assert_allclose(returns_to_go(buffer, 0.5), [1.5, 1.0, 2.0, 2.0, 4.0])


def test_returns_of_an_unfinished_episode_end_with_the_play() -> None:
    buffer = Replay(16, 1, 0)
    for reward in (1.0, 2.0):
        still = np.zeros(FEATURES, np.float32)
        flags = {"terminated": False, "truncated": False, "done": False}
        row = Batch(obs=still, obs_next=still, act=np.zeros(DIM, np.float32), rew=reward, info={}, **flags)
        buffer.add(Batch.stack([row]), buffer_ids=np.array([0]))
    np.testing.assert_allclose(returns_to_go(buffer, 0.5), [2.0, 2.0])


@given(st.floats(1e-3, 1e3), st.booleans())
def test_the_fitted_scale_makes_learning_the_same_in_all_units(unit: float, terminated: bool) -> None:
    rewards = [[0.0, -1.0, 3.0], [1.0]]
    fitted = RewardScale("auto")
    fitted.fit(episodes(rewards, terminated, unit), 0.9)
    plain = RewardScale("auto")
    plain.fit(episodes(rewards, terminated), 0.9)
    assert float(fitted.value) * unit == pytest.approx(float(plain.value), rel=1e-5)


def test_a_success_that_pays_one_is_worth_five_and_a_given_scale_stays() -> None:
    fitted, given_scale, nothing = RewardScale("auto"), RewardScale(2.0), RewardScale("auto")
    fitted.fit(episodes([[0.0, 1.0]]), 0.9)
    given_scale.fit(episodes([[0.0, 1.0]]), 0.9)
    nothing.fit(episodes([[0.0, 0.0]]), 0.9)
    assert float(fitted.value) == LARGEST == 5.0
    assert float(given_scale.value) == 2.0
    assert float(nothing.value) == LARGEST


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_scale_that_found_no_reward_in_warm_up_is_fitted_to_the_first_ones(unit: float) -> None:
    scale = RewardScale("auto")
    scale.fit(episodes([[0.0, 0.0]]), 0.9)
    scale.fit_if_late(episodes([[0.0, 0.0]]), 0.9)
    assert float(scale.value) == LARGEST
    scale.fit_if_late(episodes([[0.0, 0.0], [unit]]), 0.9)
    assert float(scale.value) * unit == pytest.approx(LARGEST, rel=1e-5)


def test_a_scale_that_was_fitted_or_given_stays() -> None:
    fitted, given_scale = RewardScale("auto"), RewardScale(2.0)
    fitted.fit(episodes([[0.0, -1.0]]), 0.9)
    for scale, value in ((fitted, LARGEST), (given_scale, 2.0)):
        scale.fit_if_late(episodes([[0.0, -1.0], [1e3]]), 0.9)
        assert float(scale.value) == value


def test_values_are_bounded_by_one_reward_where_rewards_end_episodes_and_by_a_series_of_them_elsewhere() -> None:
    assert bounds(episodes([[0.0, 1.0], [0.0, 0.0]]), 0.9) == (0.0, 1.0)
    assert bounds(episodes([[0.0, 1.0]], terminated=False), 0.9) == pytest.approx((0.0, 10.0))
    assert bounds(episodes([[-1.0, -1.0]]), 0.9) == pytest.approx((-10.0, 0.0))
    assert bounds(episodes([[-2.0, 3.0]]), 1.0) == (-math.inf, 3.0)
    assert bounds(filled_buffer(lambda _: 0.0), 0.9) == (0.0, 0.0)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=6), min_size=1, max_size=2), st.booleans())
def test_no_return_leaves_the_bounds(rewards: list[list[float]], terminated: bool) -> None:
    buffer = episodes(rewards, terminated)
    low, high = bounds(buffer, 0.9)
    returns = returns_to_go(buffer, 0.9)
    assert low - 1e-6 <= returns.min()
    assert returns.max() <= high + 1e-6
