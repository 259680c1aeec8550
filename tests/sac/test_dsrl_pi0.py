"""The equations of the π0 recipe against a reference written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tianshou.utils.torch_utils import policy_within_training_step
from toys.options import BY_HAND, BY_HAND_TEMPERATURE, PI0
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, ends, filled_buffer

from dsrl.noise.space import NoiseSpace
from dsrl.sac.dsrl_pi0 import DSRLPi0, build_dsrl_pi0

CRITICS, GAMMA, HORIZON, TAU, ENTROPY = 10, PI0["gamma"], 5, BY_HAND["tau"], -1.5


def build() -> DSRLPi0:
    torch.manual_seed(0)
    options = PI0 | BY_HAND | BY_HAND_TEMPERATURE | {"num_critics": CRITICS, "target_entropy": ENTROPY}
    box = Box(-np.inf, np.inf, (FEATURES,), np.float32)
    algorithm = build_dsrl_pi0(box, NoiseSpace(DIM, 2.0), chunk_shape=(HORIZON, 7), **options)
    with torch.no_grad():
        algorithm.policy.actor.head.weight.normal_(std=0.3)
    return algorithm


def minus_one_until_success(i: int) -> float:
    """Return the reward of transition i in the published π0 experiments: 0 at success, otherwise -1."""
    return 0.0 if ends(i)["terminated"] else -1.0


def mean_q(state, features, noise):
    return torch.stack([reference_q(state, j, features, noise) for j in range(CRITICS)]).mean(0)


def test_one_update_is_critics_then_polyak_then_actor_then_temperature_without_entropy_in_the_backup():
    algorithm, buffer = build(), filled_buffer(minus_one_until_success)
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
    algorithm, buffer = build(), filled_buffer(minus_one_until_success)
    assert algorithm.gamma == pytest.approx(GAMMA**HORIZON)
    batch = algorithm._transitions(buffer, np.arange(BATCH))
    success = torch.arange(BATCH) % 4 == 1
    assert (batch.returns[success] == 0).all()
    assert (batch.returns[~success] != -1).all()  # those that ran out of time among them
