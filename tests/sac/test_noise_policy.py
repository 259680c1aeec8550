"""Draws of the actor in training that are held over an episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.sac._noise_policy import held_draws


def test_held_draws_are_standard_normal_and_those_of_their_worlds_seeds() -> None:
    draws = held_draws(range(20_000), torch.zeros(1, 3))
    torch.testing.assert_close(draws.mean(0), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(draws.T.cov(), torch.eye(3), atol=0.05, rtol=0)
    assert torch.equal(held_draws([7, 3], torch.zeros(1, 3)), draws[[7, 3]])


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na", "dsrl_edit"])
def test_held_exploration_plays_tanh_of_mean_and_deviation_times_the_draw_of_the_world(name: str) -> None:
    vla = EchoPolicy()
    env = NoiseActionEnv(CountdownTask(3), vla, FullNoise(vla.noise_shape, 1.5, None), horizon=3)
    policy = build_algorithm(name, env, exploration="held").policy
    features = torch.randn(2, env.observation_space.shape[0])
    batch = Batch(obs=features.numpy(), info=Batch(seed=np.array([5, 2**31])))
    mean, log_std = policy.actor(policy.standardise(features))
    with policy_within_training_step(policy):
        expected = torch.tanh(mean + log_std.exp() * held_draws([5, 2**31], mean))
        torch.testing.assert_close(policy(batch).act, expected)
        torch.testing.assert_close(policy(batch).act, expected)
    torch.testing.assert_close(policy(batch).act, torch.tanh(mean))  # evaluations know no exploration


def test_selection_among_draws_refuses_held_ones_and_another_exploration_is_no_choice() -> None:
    vla = EchoPolicy()
    env = NoiseActionEnv(CountdownTask(3), vla, FullNoise(vla.noise_shape, 1.5, None), horizon=3)
    with pytest.raises(
        ValueError,
        match=r"sac.exploration=held: sac=dsrl_select plays the best of fresh draws; type sac.exploration=fresh",
    ):
        build_algorithm("dsrl_select", env, exploration="held")
    with pytest.raises(ValueError, match=r"sac.exploration=pink must be one of fresh, held"):
        build_algorithm("dsrl_sac", env, exploration="pink")
