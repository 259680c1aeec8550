"""Targets whose noise holds the deviation of a decision from the actor's mean (`sac.target_draws=held`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.affine import BY_FEATURES, BY_NOISE, GAMMA, HORIZON, build_na, na_buffer
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy
from toys.options import AUTO, BY_HAND, BY_HAND_TEMPERATURE
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, filled_buffer, plain_buffer

from dsrl.noise.full import FullNoise
from dsrl.noise.space import NoiseSpace
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.sac.dsrl_sac import DSRLSAC, build_dsrl_sac

BY_DIVERGENCE = {"regulariser": "kl", "target_draws": "held"}
T = 8  # decisions in an episode of the chain


def build_sac(features: int = FEATURES, dim: int = DIM, moved: bool = True, **changes) -> DSRLSAC:
    torch.manual_seed(0)
    box = Box(-np.inf, np.inf, (features,), np.float32)
    options = AUTO | BY_HAND | BY_HAND_TEMPERATURE | BY_DIVERGENCE | changes
    algorithm = build_dsrl_sac(box, NoiseSpace(dim, 1.5), **options)
    if moved:
        torch.nn.init.normal_(algorithm.policy.actor.head.weight, std=0.3)  # at the start, all states have one mean
    return algorithm


def mean_of(actor_state: dict, features: torch.Tensor) -> torch.Tensor:
    """Return the mean before tanh [n, dim], from the noise that ε = 0 gives."""
    return torch.atanh(reference_pi(actor_state, features, torch.zeros(len(features), DIM))[0])


def held(actor_state: dict, s: torch.Tensor, u: torch.Tensor, s_next: torch.Tensor) -> torch.Tensor:
    """Return u' = tanh(μ(s') + atanh u - μ(s))."""
    return torch.tanh(mean_of(actor_state, s_next) + torch.atanh(u) - mean_of(actor_state, s))


def test_the_targets_of_dsrl_sac_play_the_next_mean_with_the_deviation_of_the_decision():
    algorithm, buffer = build_sac(), filled_buffer()
    actor, target = snapshot(algorithm.policy.actor), snapshot(algorithm.critic_old.module)
    s, s_next, u = (torch.as_tensor(value) for value in (buffer.obs, buffer.obs_next, buffer.act))
    u = u.clamp(-0.99, 0.99)
    q_next = torch.stack([reference_q(target, j, s_next, held(actor, s, u, s_next)) for j in range(3)]).amin(0)
    rewards, on = torch.arange(BATCH, dtype=torch.float32), 1.0 - torch.as_tensor(buffer.terminated).float()
    returns = algorithm._transitions(buffer, np.arange(BATCH)).returns
    torch.testing.assert_close(returns, rewards + on * AUTO["gamma"] * q_next, rtol=1e-5, atol=1e-5)


def test_the_entropy_of_targets_is_that_of_a_fresh_draw():
    """A held deviation has the density of no draw: of σ = 0.2 it may be far below that of any."""
    algorithm, buffer = build_sac(regulariser="entropy", alpha=0.1), filled_buffer()
    s_next = algorithm.policy.standardise(buffer.obs_next)
    torch.manual_seed(3)
    returns = algorithm._transitions(buffer, np.arange(BATCH)).returns
    torch.manual_seed(3)
    log_prob = algorithm.policy.draw(s_next).log_prob
    held_noise = algorithm.policy.draw_after(s_next, buffer.obs, torch.as_tensor(buffer.act)).noise
    value = algorithm.critic_old(s_next, held_noise).amin(0) - 0.1 * log_prob
    rewards, on = torch.arange(BATCH, dtype=torch.float32), 1.0 - torch.as_tensor(buffer.terminated).float()
    torch.testing.assert_close(returns, (rewards + on * AUTO["gamma"] * value).detach(), rtol=1e-5, atol=1e-5)


def test_they_draw_nothing():
    algorithm, buffer = build_sac(), filled_buffer()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    algorithm._transitions(buffer, np.arange(BATCH))
    assert torch.equal(torch.get_rng_state(), before)


@given(seed=st.integers(0, 2**16), size=st.floats(0.0, 0.98))
def test_an_actor_whose_mean_is_the_same_everywhere_plays_the_noise_of_the_decision_again(seed: int, size: float):
    policy = build_sac(moved=False).policy
    torch.manual_seed(seed)
    u = size * (2.0 * torch.rand(5, DIM) - 1.0)
    drawn = policy.draw_after(torch.randn(5, FEATURES), torch.randn(5, FEATURES).numpy(), u)
    torch.testing.assert_close(drawn.noise, u, rtol=1e-4, atol=1e-5)


def test_noise_at_the_bound_and_noise_that_is_unknown_have_finite_deviations():
    policy = build_sac().policy
    features, before = torch.randn(3, FEATURES), torch.randn(3, FEATURES)
    u = torch.tensor([[1.0, -1.0], [0.99, -0.99], [torch.nan, torch.nan]])
    drawn = policy.draw_after(features, before.numpy(), u)
    mean, log_std = policy.actor(features)
    expected = torch.tanh(mean + torch.atanh(u.clamp(-0.99, 0.99)) - policy.actor(before)[0])
    torch.testing.assert_close(drawn.noise[:2], expected[:2])
    torch.testing.assert_close(drawn.noise[2], torch.tanh(mean[2]))  # a recorded chunk deviates by nothing
    normal = (torch.atanh(drawn.noise) - mean) / log_std.exp()
    assert drawn.log_prob.isfinite().all()
    assert normal[2].abs().max() < 1e-5


@pytest.mark.parametrize("mean", [0.0, 2.6, -4.0, 30.0])
def test_a_decision_at_the_mean_and_a_recorded_one_deviate_by_nothing_wherever_the_mean_lies(mean: float):
    policy = build_sac(moved=False).policy
    torch.nn.init.constant_(policy.actor.head.bias[:DIM], mean)  # μ is the same at all states
    u = torch.stack([torch.full((DIM,), mean).tanh(), torch.full((DIM,), torch.nan)])
    drawn = policy.draw_after(torch.randn(2, FEATURES), np.zeros((2, FEATURES), np.float32), u)
    torch.testing.assert_close(drawn.noise, torch.full((2, DIM), mean).tanh())


def test_dsrl_na_values_a_chunk_with_its_noise_which_the_targets_hold():
    algorithm, buffer = build_na(**BY_DIVERGENCE), na_buffer()
    buffer.act[:] = np.random.default_rng(2).uniform(-0.9, 0.9, (BATCH, DIM))
    buffer.act[3] = np.nan  # a recorded chunk
    scaler, chunks = algorithm.policy.scaler, algorithm.chunk_scaler
    raw, raw_next = torch.as_tensor(buffer.obs), torch.as_tensor(buffer.obs_next)
    s, s_next = ((value - scaler.mean) / scaler.std for value in (raw, raw_next))
    actor, target = snapshot(algorithm.policy.actor), snapshot(algorithm.critic_old.module)
    u = torch.as_tensor(buffer.act).float()
    u[3] = torch.tanh(mean_of(actor, s))[3]
    u_next = held(actor, s, u, s_next)
    flat = 1.5 * u_next @ BY_NOISE + raw_next @ BY_FEATURES + torch.as_tensor(buffer.info.after.stored_shift)
    choice = torch.cat([((flat - chunks.mean) / chunks.std).clamp(-10, 10), u_next], 1)
    q_next = torch.stack([reference_q(target, j, s_next, choice) for j in range(3)]).amin(0)
    on = 1.0 - torch.as_tensor(buffer.terminated).float()

    batch = algorithm._transitions(buffer, np.arange(BATCH))
    expected = torch.as_tensor(buffer.rew).float() + on * GAMMA * q_next
    torch.testing.assert_close(batch.returns, expected, rtol=1e-5, atol=1e-4)
    executed = torch.as_tensor(buffer.info.chunk).reshape(BATCH, -1)
    scaled = ((executed - chunks.mean) / chunks.std).clamp(-10, 10)
    torch.testing.assert_close(batch.choice, torch.cat([scaled, u], 1))


def test_dsrl_na_distils_the_value_of_the_drawn_chunk_with_its_own_noise():
    algorithm = build_na(**BY_DIVERGENCE)
    critic, noise_critic = snapshot(algorithm.critic), snapshot(algorithm.noise_critic)
    raw, w, chunk = torch.randn(6, FEATURES), torch.randn(6, DIM), torch.randn(6, HORIZON, 2)
    s = (raw - algorithm.policy.scaler.mean) / algorithm.policy.scaler.std
    flat = ((chunk.flatten(1) - algorithm.chunk_scaler.mean) / algorithm.chunk_scaler.std).clamp(-10, 10)
    (loss,) = algorithm._distilled(raw, w, chunk)
    choice = torch.cat([flat, w / 1.5], 1)
    pairs = [(reference_q(noise_critic, j, s, w / 1.5), reference_q(critic, j, s, choice)) for j in range(3)]
    torch.testing.assert_close(loss, 0.5 * sum(((value - goal) ** 2).mean() for value, goal in pairs))


def test_where_a_mean_fails_and_draws_are_played_all_draws_are_fresh_also_in_a_restored_learner():
    first, second = (build_sac(exploration="held") for _ in range(2))
    first.play("draws")
    second.load_state_dict(first.state_dict())
    buffer = filled_buffer()
    batch = Batch(obs=buffer.obs[:2], info=Batch(seed=np.array([5, 5])))
    for algorithm in (first, second):
        with policy_within_training_step(algorithm.policy):
            assert not torch.equal(algorithm.policy(batch).act, algorithm.policy(batch).act)
        torch.manual_seed(1)
        returns = algorithm._transitions(buffer, np.arange(BATCH)).returns
        torch.manual_seed(2)
        assert not torch.equal(algorithm._transitions(buffer, np.arange(BATCH)).returns, returns)
    first.play("actor")
    with policy_within_training_step(first.policy):
        assert torch.equal(first.policy(batch).act, first.policy(batch).act)


def chain(episodes: int = 200) -> ReplayBuffer:
    """Return episodes of T decisions that hold one number u, and succeed with probability (1 + u) / 2."""
    rng = np.random.default_rng(0)
    buffer = plain_buffer(episodes * T)
    for _ in range(episodes):
        u = rng.uniform(-1, 1)
        success = rng.uniform() < (1 + u) / 2
        for t in range(T):
            obs, obs_next = (np.array([(t + ahead) / T, 1.0], np.float32) for ahead in (0, 1))
            last = t == T - 1
            end = {"terminated": last, "truncated": False, "done": last}
            reward = float(last and success)
            buffer.add(Batch(obs=obs, obs_next=obs_next, act=np.array([u], np.float32), rew=reward, info={}, **end))
    return buffer


@pytest.mark.parametrize(("draws", "least", "most"), [("held", 0.5, 1.1), ("fresh", -0.2, 0.2)])
def test_held_targets_see_what_a_decision_alone_does_not_change(draws: str, least: float, most: float):
    options = {"hidden": 32, "critic_warmup_updates": 600, "gamma": 1.0, "tau": 0.05, "critic_lr": 3e-3, "n_step": 1}
    algorithm = build_sac(2, 1, moved=False, target_draws=draws, reward_scale=1.0, **options)
    algorithm.warm_up(chain(), 128)
    first = algorithm.policy.standardise(np.tile(np.array([[0.0, 1.0]], np.float32), (2, 1)))
    good, bad = algorithm.critic(first, torch.tensor([[0.8], [-0.8]])).mean(0).tolist()
    assert least < good - bad < most  # held: 0.8 of a success


@pytest.mark.parametrize("name", ["dsrl_select", "dsrl_edit"])
def test_algorithms_that_choose_among_draws_or_edits_refuse_them(name: str):
    vla = EchoPolicy()
    env = NoiseActionEnv(CountdownTask(3), vla, FullNoise(vla.noise_shape, 1.5, None), horizon=3)
    with pytest.raises(ValueError, match=r"sac.target_draws=held: .*type sac.target_draws=fresh"):
        build_algorithm(name, env, target_draws="held")
    with pytest.raises(ValueError, match=r"sac.target_draws=pink must be one of fresh, held"):
        build_algorithm("dsrl_sac", env, target_draws="pink")
