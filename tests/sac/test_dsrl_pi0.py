"""The equations of the π0 recipe against a reference written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.references import reference_pi, reference_q, snapshot

from dsrl.noise_action_env import NoiseSpace
from dsrl.sac.dsrl_pi0 import DSRLPi0, build_dsrl_pi0

FEATURES, DIM, BATCH, CRITICS, GAMMA, HORIZON, TAU, ENTROPY = 3, 2, 16, 10, 0.9, 5, 0.25, -1.5


def build() -> DSRLPi0:
    torch.manual_seed(0)
    algorithm = build_dsrl_pi0(
        Box(-np.inf, np.inf, (FEATURES,), np.float32),
        NoiseSpace(DIM, 2.0),
        chunk_shape=(HORIZON, 7),
        hidden=8,
        depth=2,
        activation="Tanh",
        num_critics=CRITICS,
        alpha="auto",
        initial_alpha=0.3,
        target_entropy=ENTROPY,
        actor_lr=1e-2,
        critic_lr=1e-2,
        alpha_lr=1e-2,
        gamma=GAMMA,
        tau=TAU,
        reward_scale=1.0,
        critic_warmup_updates=0,
    )
    with torch.no_grad():
        algorithm.policy.actor.head.weight.normal_(std=0.3)
    return algorithm


def filled_buffer() -> ReplayBuffer:
    """Reward is -1 per decision and 0 at success; every fourth decision succeeds, every fourth runs out of time."""
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(BATCH)
    for i in range(BATCH):
        end = {"terminated": i % 4 == 1, "truncated": i % 4 == 3}
        obs, obs_next = rng.standard_normal((2, FEATURES)).astype(np.float32)
        act, reward = rng.uniform(-1, 1, DIM).astype(np.float32), 0.0 if end["terminated"] else -1.0
        buffer.add(Batch(obs=obs, obs_next=obs_next, act=act, rew=reward, info={}, done=any(end.values()), **end))
    return buffer


def mean_q(state, features, noise):
    return torch.stack([reference_q(state, j, features, noise) for j in range(CRITICS)]).mean(0)


def test_one_update_is_critics_then_polyak_then_actor_then_temperature_without_entropy_in_the_backup():
    algorithm, buffer = build(), filled_buffer()
    actor, critic = snapshot(algorithm.policy.actor), snapshot(algorithm.critic)
    target = snapshot(algorithm.critic_old.module)
    torch.manual_seed(1)
    with policy_within_training_step(algorithm.policy):
        stats = algorithm.update(buffer, 0)

    torch.manual_seed(1)
    normal_next, normal = torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)
    s, s_next, u = (torch.as_tensor(x) for x in (buffer.obs, buffer.obs_next, buffer.act))
    r, success = (torch.as_tensor(x, dtype=torch.float32) for x in (buffer.rew, buffer.terminated))
    u_next, _ = reference_pi(actor, s_next, normal_next)
    y = r + (1 - success) * GAMMA**HORIZON * mean_q(target, s_next, u_next)
    critic_loss = torch.stack([(reference_q(critic, j, s, u) - y) ** 2 for j in range(CRITICS)]).mean()
    new_critic = snapshot(algorithm.critic)
    u_new, log_prob = reference_pi(actor, s, normal)
    actor_loss = (0.3 * log_prob - mean_q(new_critic, s, u_new)).mean()
    alpha_loss = 0.3 * (-log_prob - ENTROPY).mean()

    torch.testing.assert_close(stats.critic_loss, critic_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.actor_loss, actor_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.alpha_loss, alpha_loss, rtol=1e-6, atol=1e-6)
    for name, value in snapshot(algorithm.critic_old.module).items():
        torch.testing.assert_close(value, TAU * new_critic[name] + (1 - TAU) * target[name])
    direction = torch.sign(torch.tensor(ENTROPY) + log_prob.mean())  # Adam's first step has the size of its rate
    assert algorithm.temperature.log_alpha.item() == pytest.approx(np.log(0.3) + 1e-2 * direction.item(), abs=1e-5)


def test_a_decision_is_discounted_by_its_executed_horizon_and_success_alone_cuts_the_return():
    algorithm, buffer = build(), filled_buffer()
    assert algorithm.gamma == pytest.approx(GAMMA**HORIZON)
    batch = algorithm._preprocess_batch(buffer[np.arange(BATCH)], buffer, np.arange(BATCH))
    success = torch.arange(BATCH) % 4 == 1
    assert (batch.returns[success] == 0).all()
    assert (batch.returns[~success] != -1).all()  # those that ran out of time among them
