"""The equations of LP-DS against a reference written out by hand, and its start at the base policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.options import BY_HAND, LP_DS
from toys.references import reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, filled_buffer, plain_buffer

from dsrl.noise.space import NoiseSpace
from dsrl.sac.lp_ds import LPDS, build_lp_ds

B, DELTA, GAMMA, TAU = 1.5, 0.5, LP_DS["gamma"], BY_HAND["tau"]


def build(**changes) -> LPDS:
    options = LP_DS | BY_HAND | {"delta": DELTA, "initial_multiplier": 0.3, "multiplier_lr": 1e-2}
    torch.manual_seed(0)
    box = Box(-np.inf, np.inf, (FEATURES,), np.float32)
    return build_lp_ds(box, NoiseSpace(DIM, B), **(options | changes))


def shifting(**changes) -> LPDS:
    algorithm = build(**changes)
    with torch.no_grad():
        algorithm.policy.actor.head.weight.normal_(std=0.3)
    return algorithm


def test_before_the_first_step_noise_is_the_prior_to_the_last_bit_and_not_clipped():
    algorithm = build()
    features = torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0))
    normal = torch.randn(200, DIM, generator=torch.Generator().manual_seed(1))
    assert torch.equal(algorithm.act(features, normal), normal)
    assert torch.equal(algorithm.act(features), torch.zeros(200, DIM))
    torch.manual_seed(2)
    with policy_within_training_step(algorithm.policy):
        u = algorithm.policy(Batch(obs=features.numpy(), info=Batch())).act
    torch.manual_seed(2)
    expected = torch.randn(200, DIM).numpy()
    assert np.abs(expected).max() > B
    np.testing.assert_allclose(algorithm.policy.map_action(u), expected, rtol=1e-6)
    np.testing.assert_allclose(algorithm.policy.map_action_inverse(expected), expected / B, rtol=1e-5, atol=1e-6)


def test_the_losses_of_one_update_are_those_of_the_equations():
    algorithm, buffer = shifting(), filled_buffer()
    critic, target = snapshot(algorithm.critic), snapshot(algorithm.critic_old.module)
    s, s_next, u = (torch.as_tensor(x) for x in (buffer.obs, buffer.obs_next, buffer.act))
    r, d = (torch.as_tensor(x, dtype=torch.float32) for x in (buffer.rew, buffer.terminated))
    with torch.no_grad():
        shift, shift_next = algorithm.policy.actor(s), algorithm.policy.actor(s_next)
    torch.manual_seed(1)
    with policy_within_training_step(algorithm.policy):
        stats = algorithm.update(buffer, 0)

    torch.manual_seed(1)
    w_next = shift_next + torch.randn(BATCH, DIM)
    w = shift + torch.randn(BATCH, DIM)
    q_next = torch.stack([reference_q(target, j, s_next, w_next / B) for j in range(3)]).min(0).values
    y = r + (1 - d) * GAMMA * q_next
    critic_loss = 0.5 * sum(((reference_q(critic, j, s, u) - y) ** 2).mean() for j in range(3))
    new_critic = snapshot(algorithm.critic)
    q = torch.stack([reference_q(new_critic, j, s, w / B) for j in range(3)]).min(0).values
    squared = (shift**2).sum(1)
    torch.testing.assert_close(stats.critic_loss, critic_loss, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(stats.actor_loss, (0.3 * squared - q).mean(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.squared_shift, squared.mean())
    torch.testing.assert_close(stats.multiplier_loss, -math.log(0.3) * (squared.mean() - DELTA))
    for name, value in snapshot(algorithm.critic_old.module).items():
        torch.testing.assert_close(value, TAU * new_critic[name] + (1 - TAU) * target[name])


@pytest.mark.parametrize(("delta", "grows"), [(1e-3, True), (100.0, False)])
def test_the_multiplier_grows_exactly_while_the_trust_region_is_left(delta, grows):
    algorithm, buffer = shifting(delta=delta), filled_buffer()
    before = algorithm.temperature.value
    with policy_within_training_step(algorithm.policy):
        algorithm.update(buffer, 0)
    assert (algorithm.temperature.value > before) == grows


def test_a_toy_is_steered_within_the_trust_region():
    """The reward is the first number of w: the shift grows along it until ‖Δ‖² is about δ."""
    algorithm, rng = build(hidden=32, delta=0.25), np.random.default_rng(0)
    buffer = plain_buffer(512)
    for _ in range(512):
        zero, w = np.zeros(FEATURES, np.float32), rng.standard_normal(DIM).astype(np.float32)
        end = {"terminated": True, "truncated": False, "done": True}
        buffer.add(Batch(obs=zero, obs_next=zero, act=w / B, rew=float(w[0]), info={}, **end))
    with policy_within_training_step(algorithm.policy):
        algorithm.learn(buffer, 64, 600)
    shift = algorithm.act(torch.zeros(1, FEATURES))[0]
    assert shift[0] > 0.3
    assert abs(shift[1]) < 0.2
    assert 0.1 < shift.square().sum() < 0.6


def test_the_bound_is_the_dimension_unless_a_number_is_given():
    assert build(delta="auto").regulariser.limit == DIM
    assert build(delta=0.25).regulariser.limit == 0.25
    with pytest.raises(ValueError, match=r"sac.delta=0.0 must be above 0"):
        build(delta=0.0)
