"""What the rewards of the play decide: the returns, the scale of rewards, the discount, and the bounds of values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.options import AUTO
from toys.replay import DIM, FEATURES, filled_buffer

from dsrl.noise.space import NoiseSpace
from dsrl.sac._returns import LARGEST, UNBOUNDED, RewardScale, bounds, limited_discount, returns_to_go
from dsrl.sac._reward_centre import RewardCentre
from dsrl.sac.dsrl_sac import DSRLSAC, build_dsrl_sac
from dsrl.training.replay_buffer import Replay

GAMMA, SCALE = AUTO["gamma"], 3.0
AS_THEY_ARE = RewardCentre()


def build(**changes) -> DSRLSAC:
    options = AUTO | {"regulariser": "kl", "reward_scale": SCALE, "critic_warmup_updates": 1}
    return build_dsrl_sac(Box(-np.inf, np.inf, (FEATURES,), np.float32), NoiseSpace(DIM, 1.5), **(options | changes))


def episodes(rewards: list[list[float]], terminated: bool = True, scale: float = 1.0) -> ReplayBuffer:
    """Return a buffer with one part for each list of rewards, an episode whose last decision ends it."""
    buffer = Replay(16, len(rewards), 0)
    for world, earned in enumerate(rewards):
        add_episode(buffer, world, [scale * reward for reward in earned], terminated)
    return buffer


def add_episode(buffer: Replay, part: int, rewards: list[float], terminated: bool) -> None:
    for i, reward in enumerate(rewards):
        end = i == len(rewards) - 1
        flags = {"terminated": end and terminated, "truncated": end and not terminated, "done": end}
        still = np.zeros(FEATURES, np.float32)
        row = Batch(obs=still, obs_next=still, act=np.zeros(DIM, np.float32), rew=reward, info={}, **flags)
        buffer.add(Batch.stack([row]), buffer_ids=np.array([part]))


def test_returns_are_discounted_within_an_episode_and_within_a_world() -> None:
    buffer = episodes([[1.0, 0.0, 2.0], [0.0, 4.0]])
    np.testing.assert_allclose(returns_to_go(buffer, 0.5, AS_THEY_ARE), [1.5, 1.0, 2.0, 2.0, 4.0])


def test_returns_of_an_unfinished_episode_end_with_the_play() -> None:
    buffer = Replay(16, 1, 0)
    for reward in (1.0, 2.0):
        still = np.zeros(FEATURES, np.float32)
        flags = {"terminated": False, "truncated": False, "done": False}
        row = Batch(obs=still, obs_next=still, act=np.zeros(DIM, np.float32), rew=reward, info={}, **flags)
        buffer.add(Batch.stack([row]), buffer_ids=np.array([0]))
    np.testing.assert_allclose(returns_to_go(buffer, 0.5, AS_THEY_ARE), [2.0, 2.0])


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
def test_scale_and_discount_are_fitted_to_the_first_rewards_where_warm_up_has_none(unit: float) -> None:
    algorithm = build(reward_scale="auto", discount_at_limit=0.5)
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(episodes([[0.0, 0.0]], terminated=False), 2)
        assert (float(algorithm.reward_scale.value), algorithm.gamma) == (LARGEST, GAMMA)
        buffer = episodes([[0.0, 0.0], [0.0, unit]])
        buffer.terminated[1], buffer.truncated[1] = False, True
        algorithm.learn(buffer, 2, 1)
    assert algorithm.gamma == 0.5**0.5
    assert float(algorithm.reward_scale.value) * unit == pytest.approx(LARGEST, rel=1e-5)


def test_where_no_episode_ran_out_of_time_yet_the_limit_is_that_of_the_task() -> None:
    buffer = episodes([[0.0, 1.0], [0.0]])
    assert limited_discount(buffer, 0.97, 0.5) == 0.97
    buffer.longest_episode, buffer.cut = 4, np.zeros(buffer.maxsize, dtype=bool)
    assert limited_discount(buffer, 0.97, 0.5) == pytest.approx(0.5 ** (1 / 4))


def test_an_episode_that_a_reset_cut_is_no_time_limit() -> None:
    buffer = episodes([[0.0, 1.0], [0.0, 0.0, 0.0]])
    buffer.terminated[buffer.last_index[1]] = buffer.done[buffer.last_index[1]] = False
    buffer.cut_episodes()
    assert limited_discount(buffer, 0.97, 0.5) == 0.97
    twin = Replay(16, 2, 0)
    twin.load_state_dict(buffer.state_dict())
    assert limited_discount(twin, 0.97, 0.5) == 0.97
    buffer.incomplete[:] = False  # as if it had run out of time
    assert limited_discount(buffer, 0.97, 0.5) == 0.5 ** (1 / 3)


def test_a_recorded_failure_is_no_time_limit() -> None:
    buffer = Replay(16, 1, 0, offline=3, longest_episode=4)
    add_episode(buffer, 0, [0.0, 1.0], terminated=True)
    add_episode(buffer, 1, [0.0, 0.0, 0.0], terminated=False)
    assert limited_discount(buffer, 0.97, 0.5) == pytest.approx(0.5 ** (1 / 4))


@pytest.mark.parametrize(("size", "limit"), [(1, 4), (3, 4), (4, 4), (5, 3), (7, 3), (8, 3)])
def test_an_episode_whose_first_decisions_are_overwritten_is_no_time_limit(size: int, limit: int) -> None:
    buffer = Replay(size, 1, 0, longest_episode=4)
    add_episode(buffer, 0, [0.0, 0.0, 0.0], terminated=True)
    add_episode(buffer, 0, [0.0, 0.0, 0.0], terminated=False)
    add_episode(buffer, 0, [0.0, 1.0], terminated=True)
    assert limited_discount(buffer, 0.97, 0.5) == pytest.approx(0.5 ** (1 / limit))
    larger = Replay(16, 1, 0, longest_episode=4)
    larger.load_state_dict(buffer.state_dict())
    assert limited_discount(larger, 0.97, 0.5) == pytest.approx(0.5 ** (1 / limit))


def test_a_scale_stays_until_a_reward_is_ten_times_what_it_knew_and_a_given_one_stays_for_good() -> None:
    fitted, given_scale = RewardScale("auto"), RewardScale(2.0)
    fitted.fit(episodes([[0.0, -1.0]]), 0.9)
    for scale, value in ((fitted, LARGEST), (given_scale, 2.0)):
        scale.refit(episodes([[0.0, -1.0], [9.9]]), 0.9)
        assert float(scale.value) == value
    shaping_then_success = episodes([[0.0, -1.0], [0.0, 100.0]])
    for scale, value in ((fitted, LARGEST / 100.0), (given_scale, 2.0)):
        scale.refit(shaping_then_success, 0.9)
        assert float(scale.value) == pytest.approx(value)


def test_bounds_remember_rewards_that_replay_has_forgotten_and_a_checkpoint_keeps_them() -> None:
    algorithm = build()
    algorithm._fit_to_rewards(episodes([[0.0, 1.0]]))
    algorithm._fit_to_rewards(episodes([[0.0, 0.0]]))
    assert algorithm.value_bounds == (0.0, SCALE)
    continued = build()
    continued.load_state_dict(algorithm.state_dict())
    continued._fit_to_rewards(episodes([[0.0, 0.0]]))
    assert continued.value_bounds == (0.0, SCALE)


def test_without_a_discount_values_have_no_bound_and_a_checkpoint_is_finite_all_the_same() -> None:
    algorithm = build(gamma=1.0)
    algorithm._fit_to_rewards(episodes([[-2.0, 3.0]]))
    assert algorithm.value_bounds == (-math.inf, pytest.approx(3.0 * float(algorithm.reward_scale.value)))
    assert algorithm.bounds.limits.isfinite().all()


def test_values_are_bounded_by_one_reward_where_rewards_end_episodes_and_by_a_series_of_them_elsewhere() -> None:
    assert bounds(episodes([[0.0, 1.0], [0.0, 0.0]]), 0.9, AS_THEY_ARE) == (0.0, 1.0)
    assert bounds(episodes([[0.0, 1.0]], terminated=False), 0.9, AS_THEY_ARE) == pytest.approx((0.0, 10.0))
    assert bounds(episodes([[-1.0, -1.0]]), 0.9, AS_THEY_ARE) == pytest.approx((-10.0, 0.0))
    assert bounds(episodes([[-2.0, 3.0]]), 1.0, AS_THEY_ARE) == (-UNBOUNDED, 3.0)
    assert bounds(filled_buffer(lambda _: 0.0), 0.9, AS_THEY_ARE) == (0.0, 0.0)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=6), min_size=1, max_size=2), st.booleans())
def test_no_return_leaves_the_bounds(rewards: list[list[float]], terminated: bool) -> None:
    buffer = episodes(rewards, terminated)
    low, high = bounds(buffer, 0.9, AS_THEY_ARE)
    returns = returns_to_go(buffer, 0.9, AS_THEY_ARE)
    assert low - 1e-6 <= returns.min()
    assert returns.max() <= high + 1e-6
