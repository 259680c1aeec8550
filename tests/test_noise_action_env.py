"""NoiseActionEnv on a task that can be counted by hand: seed s ends at step s % 10, or is truncated at step 6."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys.countdown import HOLD, CountdownTask, EchoPolicy

from dsrl.interfaces import Encoding
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import FIRST_DRAWN_SEED, NoiseActionEnv, NoiseSpace


def make_env(num_envs: int = 3, horizon: int = 4, policy: EchoPolicy | None = None) -> NoiseActionEnv:
    policy = policy or EchoPolicy()
    return NoiseActionEnv(CountdownTask(num_envs), policy, FullNoise(policy.noise_shape, 1.5, None), horizon)


def ones(num: int) -> np.ndarray:
    return np.ones((num, 8), np.float32)


def test_chunk_rewards_are_summed_up_to_each_worlds_own_end():
    env = make_env()
    env.reset(seeds=[2, 3, 9])
    features, reward, terminated, truncated, info = env.step(ones(3), np.arange(3))
    np.testing.assert_array_equal(reward, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(terminated, [True, True, False])
    np.testing.assert_array_equal(truncated, [False, False, False])
    assert [one["env_steps"] for one in info] == [2, 3, 4]
    assert [one["success"] for one in info] == [True, True, False]
    assert [one["seed"] for one in info] == [2, 3, 9]
    np.testing.assert_array_equal(features[2], [9.0, 4.0])
    assert features.dtype == reward.dtype == np.float32


def test_worlds_that_have_ended_hold_still_for_the_rest_of_the_chunk():
    env = make_env()
    env.reset(seeds=[2, 3, 9])
    env.step(ones(3), np.arange(3))
    held = [(actions[:, 0] == HOLD).tolist() for actions in env.task.actions]
    assert held == [[False, False, False], [False, False, False], [True, False, False], [True, True, False]]


def test_worlds_that_a_call_does_not_name_are_parked():
    env = make_env()
    env.reset(seeds=[9, 9, 9])
    _, reward, *_ = env.step(ones(1), [1])
    assert reward.shape == (1,)
    assert all(actions[[0, 2]].eq(HOLD).all() for actions in env.task.actions)
    assert env.task.taken.tolist() == [0, 4, 0]


def test_a_truncated_world_shows_its_last_observation_and_the_rest_of_the_chunk_is_not_played():
    env = make_env(num_envs=1)
    env.reset(seeds=[9])
    env.step(ones(1))
    features, reward, terminated, truncated, info = env.step(ones(1))
    np.testing.assert_array_equal(features, [[9.0, 6.0]])
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])
    assert reward.tolist() == [2 * (1.0 + 4.0)]  # the policy adds the 4 steps that it saw taken
    assert info[0]["env_steps"] == 2
    assert len(env.task.actions) == 6


def test_a_world_that_is_won_on_its_last_step_is_terminated_not_truncated():
    env = make_env(num_envs=1)
    env.reset(seeds=[6])
    env.step(ones(1))
    _, _, terminated, truncated, _ = env.step(ones(1))
    assert (terminated.tolist(), truncated.tolist()) == ([True], [False])


def test_nobody_looks_when_all_worlds_have_terminated():
    env = make_env()
    env.reset(seeds=[1, 2, 3])
    env.step(ones(3))
    assert env.task.looks == 1


def test_evaluation_can_skip_the_look_at_truncated_worlds():
    env = make_env(num_envs=1)
    env.reset(seeds=[9])
    env.step(ones(1))
    env.step_noise(torch.ones(1, 4, 2), look_at_truncated=False)
    assert env.task.looks == 2


def test_a_partial_reset_leaves_the_other_worlds_alone():
    env = make_env()
    env.reset(seeds=[2, 9, 9])
    env.step(ones(3))
    features, _ = env.reset([0], seeds=[5])
    np.testing.assert_array_equal(features, [[5.0, 0.0]])
    assert env.task.taken.tolist() == [0, 4, 4]
    _, reward, *_ = env.step(ones(2), [2, 0])  # in the caller's order: world 2 saw 4 steps taken, world 0 none
    np.testing.assert_array_equal(reward, [2 * 5.0, 4.0])


def test_a_permuted_full_reset_keeps_row_and_world_together():
    env = make_env()
    features, _ = env.reset([2, 0, 1], seeds=[22, 20, 21])
    np.testing.assert_array_equal(features[:, 0], [22.0, 20.0, 21.0])
    np.testing.assert_array_equal(env.encoding.features[:, 0], [20.0, 21.0, 22.0])


def test_the_first_reset_may_be_partial():
    env = make_env()
    features, _ = env.reset([1], seeds=[8])
    np.testing.assert_array_equal(features, [[8.0, 0.0]])
    assert env.step(ones(1), [1])[1].tolist() == [4.0]


def test_drawn_seeds_repeat_with_the_env_seed_and_stay_clear_of_small_ones():
    env = make_env()
    env.seed(3)
    first = [one["seed"] for _ in range(2) for one in env.reset()[1]]
    env.seed(3)
    assert [one["seed"] for _ in range(2) for one in env.reset()[1]] == first
    assert min(first) >= FIRST_DRAWN_SEED
    assert len(set(first)) == 6


def test_the_noise_space_samples_the_clipped_prior():
    space = NoiseSpace(dim=20000, magnitude=1.5)
    space.seed(0)
    sample = space.sample()
    assert space.contains(sample)
    expected = np.clip(np.random.default_rng(5).standard_normal(200000), -1.5, 1.5)
    assert abs(sample.std() - expected.std()) < 0.02
    assert (np.abs(sample) == 1.5).mean() == pytest.approx(0.1336, abs=0.01)


def test_stepping_a_world_that_has_ended_is_an_error():
    env = make_env()
    with pytest.raises(ValueError, match=r"worlds \[0, 1, 2\] have ended; reset them"):
        env.step(ones(3))
    env.reset(seeds=[2, 9, 9])
    env.step(ones(3))
    with pytest.raises(ValueError, match=r"worlds \[0\] have ended; reset them"):
        env.step(ones(3))


def test_parts_that_do_not_fit_are_refused_before_anything_moves():
    with pytest.raises(ValueError, match="horizon is 5 but the policy's chunks have 4 actions; choose"):
        make_env(horizon=5)
    policy = EchoPolicy()
    policy.chunk_shape = (4, 7)
    with pytest.raises(ValueError, match="policy emits 7-dim actions but the task takes 2; choose"):
        make_env(policy=policy)
    with pytest.raises(ValueError, match=r"noise expands to \(3, 2\) but the policy's sampler takes \(4, 2\)"):
        NoiseActionEnv(CountdownTask(1), EchoPolicy(), FullNoise((3, 2), 1.0, None), 4)
    with pytest.raises(ValueError, match="2 seeds were given for 3 worlds"):
        make_env().reset(seeds=[1, 2])


class BlindPolicy(EchoPolicy):
    """Cannot see world 21."""

    def encode(self, observation):
        state = observation.state.clone()
        state[state[:, 0] == 21] = float("nan")
        return Encoding(state, {})


class OverflowingPolicy(EchoPolicy):
    """Too large for float32 where noise is 1."""

    def decode(self, encoding, noise):
        return torch.exp(100 * noise)


def test_numbers_that_are_not_finite_name_the_world_and_the_quantity():
    with pytest.raises(FloatingPointError, match=r"features of world \[1\] is not finite"):
        make_env(policy=BlindPolicy()).reset(seeds=[20, 21, 22])
    env = make_env()
    env.reset(seeds=[8, 8, 8])
    noise = torch.zeros(3, 4, 2)
    noise[2, 0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"noise of world \[2\] is not finite; the actor is lost, so lower"):
        env.step_noise(noise)
    env = make_env(policy=OverflowingPolicy())
    env.reset(seeds=[8, 8, 8])
    with pytest.raises(FloatingPointError, match=r"chunk of world \[2\] is not finite; look at"):
        env.step_noise(torch.tensor([0.0, 1.0])[:, None, None].expand(2, 4, 2), [1, 2])


class Unpriced(CountdownTask):
    """Knows no price for the second step in world 25."""

    def step(self, action):
        step = super().step(action)
        step.reward[(self.seed == 25) & (self.taken == 2)] = float("nan")
        return step


def test_a_reward_that_is_not_finite_names_its_world():
    policy = EchoPolicy()
    env = NoiseActionEnv(Unpriced(3), policy, FullNoise(policy.noise_shape, 1.5, None), 4)
    env.reset(seeds=[28, 25, 29])
    env.step(ones(2), [0, 2])
    env.reset(seeds=[28, 29, 25])
    with pytest.raises(FloatingPointError, match=r"reward of world \[2\] is not finite"):
        env.step(ones(3))


class UnevenPolicy(EchoPolicy):
    """Pads its context to the batch."""

    def encode(self, observation):
        return Encoding(observation.state, {"prefix": torch.zeros(len(observation.state), len(observation.state))})


def test_a_context_whose_rows_change_shape_is_refused():
    env = make_env(policy=UnevenPolicy())
    env.reset(seeds=[1, 2, 3])
    with pytest.raises(ValueError, match=r"encoding 'prefix' has rows of shape \(1,\) now but \(3,\) before"):
        env.reset([0], seeds=[1])
