"""The equations of DSRL-SAC against references written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.options import AUTO, BY_HAND, BY_HAND_TEMPERATURE
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, filled_buffer, plain_buffer

from dsrl.noise.space import NoiseSpace
from dsrl.sac._noise_policy import prior_std, squashed_sample
from dsrl.sac._returns import limited_discount
from dsrl.sac.dsrl_sac import DSRLSAC, build_dsrl_sac

GAMMA, TAU, SCALE = AUTO["gamma"], BY_HAND["tau"], 3.0


def build(magnitude: float = 1.5, **changes) -> DSRLSAC:
    options = AUTO | BY_HAND | BY_HAND_TEMPERATURE | {"reward_scale": SCALE}
    torch.manual_seed(0)
    box = Box(-np.inf, np.inf, (FEATURES,), np.float32)
    algorithm = build_dsrl_sac(box, NoiseSpace(DIM, magnitude), **(options | changes))
    with torch.no_grad():
        algorithm.policy.actor.head.weight.normal_(std=0.3)  # at the start, every state has the same distribution
    return algorithm


def updated(algorithm: DSRLSAC, buffer: ReplayBuffer, seed: int = 1):
    """One update on the whole buffer in order, with the random numbers that `seed` gives."""
    torch.manual_seed(seed)
    with policy_within_training_step(algorithm.policy):
        return algorithm.update(buffer, 0)


def test_the_losses_of_one_update_are_those_of_the_equations():
    algorithm, buffer = build(), filled_buffer()
    algorithm.policy.scaler.fit(torch.randn(50, FEATURES) * 3 + 1)
    actor, critic, target = (snapshot(m) for m in (algorithm.policy.actor, algorithm.critic, algorithm.critic_old))
    target = {name.removeprefix("module."): value for name, value in target.items()}
    stats = updated(algorithm, buffer)

    torch.manual_seed(1)
    normal_next, normal = torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)
    mean, std = algorithm.policy.scaler.mean, algorithm.policy.scaler.std
    s, s_next = ((torch.as_tensor(x) - mean) / std for x in (buffer.obs, buffer.obs_next))
    u, r, d = (torch.as_tensor(x, dtype=torch.float32) for x in (buffer.act, buffer.rew, buffer.terminated))
    u_next, log_prob_next = reference_pi(actor, s_next, normal_next)
    u_new, log_prob = reference_pi(actor, s, normal)
    q_next = torch.stack([reference_q(target, j, s_next, u_next) for j in range(3)]).min(0).values
    y = SCALE * r + (1 - d) * GAMMA * (q_next - 0.3 * log_prob_next)
    critic_loss = 0.5 * sum(((reference_q(critic, j, s, u) - y) ** 2).mean() for j in range(3))
    alpha_loss = -(math.log(0.3) * (log_prob + -DIM)).mean()
    new_critic = snapshot(algorithm.critic)  # the actor meets the critics after their step
    q_new = torch.stack([reference_q(new_critic, j, s, u_new) for j in range(3)]).min(0).values
    actor_loss = (0.3 * log_prob - q_new).mean()

    torch.testing.assert_close(stats.critic_loss, critic_loss, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(stats.alpha_loss, alpha_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.actor_loss, actor_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.entropy, -log_prob.mean(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.alpha, torch.tensor(0.3))
    for name, value in snapshot(algorithm.critic_old.module).items():
        torch.testing.assert_close(value, TAU * new_critic[name] + (1 - TAU) * target[name])


def test_the_critics_take_one_adam_step_along_the_gradient_of_their_loss_only():
    algorithm, buffer = build(), filled_buffer()
    before = snapshot(algorithm.critic)
    updated(algorithm, buffer)
    after = snapshot(algorithm.critic)
    twin = build()
    parameters = {name: value.clone().requires_grad_() for name, value in before.items()}
    torch.manual_seed(1)
    batch = twin._transitions(buffer, np.arange(BATCH))
    values = torch.stack([reference_q(parameters, j, batch.features, batch.choice) for j in range(3)])
    (0.5 * ((values - batch.returns) ** 2).mean(1).sum()).backward()
    for name, value in parameters.items():
        g = value.grad
        step = 1e-2 * g / (g.abs() + 1e-8)
        moved = g.abs() > 1e-4  # Adam's first step is the sign of the gradient, unless that is all rounding
        torch.testing.assert_close(after[name][moved], (before[name] - step)[moved], rtol=1e-5, atol=1e-5)


def test_the_actor_loss_leaves_no_gradient_in_the_critics():
    algorithm = build()
    features = torch.randn(4, FEATURES)
    drawn = algorithm.policy.draw(features)
    algorithm._actor_step(features, drawn.noise, drawn.log_prob, torch.tensor(0.1))
    assert all(parameter.grad is None for parameter in algorithm.critic.parameters())
    assert all(parameter.requires_grad for parameter in algorithm.critic.parameters())


def test_log_prob_is_that_of_u_and_the_scale_jacobian_turns_it_into_that_of_w():
    mean, log_std = torch.tensor([[0.3, -0.2]]), torch.tensor([[-0.5, 0.1]])
    u, log_prob = squashed_sample(mean, log_std, torch.tensor([[0.7, -1.1]]))
    raw = np.arctanh(u.numpy().astype(np.float64))[0]
    expected = 0.0
    for x, m, s in zip(raw, mean[0].tolist(), log_std[0].exp().tolist(), strict=True):
        expected += -0.5 * ((x - m) / s) ** 2 - math.log(s * math.sqrt(2 * math.pi)) - math.log(1 - math.tanh(x) ** 2)
    assert log_prob.item() == pytest.approx(expected, abs=1e-5)

    b, grid = 1.5, torch.linspace(-12, 12, 200001, dtype=torch.float64)[:, None]
    u, log_prob = squashed_sample(torch.full((1, 1), 0.3).double(), torch.zeros(1, 1).double(), grid - 0.3)
    w = b * u[:, 0]
    density_of_w = (log_prob - math.log(b)).exp()
    assert torch.trapezoid(density_of_w, w).item() == pytest.approx(1.0, abs=1e-6)


def test_log_prob_stays_finite_where_tanh_saturates():
    u, log_prob = squashed_sample(torch.tensor([[60.0]]), torch.zeros(1, 1), torch.zeros(1, 1))
    assert u.item() == 1.0
    assert log_prob.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 60.0))


def test_deterministic_noise_is_the_scaled_tanh_of_the_mean_and_given_draws_make_it_stochastic():
    algorithm = build(magnitude=1.5)
    features = torch.randn(5, FEATURES, generator=torch.Generator().manual_seed(0))
    mean, log_std = algorithm.policy.actor(features)
    still = algorithm.act(features)
    torch.testing.assert_close(still, 1.5 * torch.tanh(mean).detach(), rtol=1e-6, atol=0)
    assert torch.equal(algorithm.act(features), still)
    assert not still.requires_grad
    normal = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    expected = 1.5 * torch.tanh(mean + log_std.exp() * normal).detach()
    torch.testing.assert_close(algorithm.act(features, normal), expected, rtol=1e-6, atol=0)
    outside = algorithm.policy(Batch(obs=features.numpy(), info=Batch())).act
    torch.testing.assert_close(1.5 * outside.detach(), still, rtol=1e-6, atol=0)


def test_a_time_out_bootstraps_and_a_terminal_state_does_not():
    algorithm, buffer = build(), filled_buffer()
    batch = algorithm._transitions(buffer, np.arange(BATCH))
    reward = SCALE * torch.arange(BATCH, dtype=torch.float32)
    ended = torch.arange(BATCH) % 4 == 1
    assert torch.equal(batch.returns[ended], reward[ended])
    assert (batch.returns[~ended] != reward[~ended]).all()  # the truncated ones among them


def episodes(*lengths_and_ends: tuple[int, str], reward=lambda terminated: float(terminated)) -> ReplayBuffer:
    """Return the transitions of episodes of some lengths, which are `terminated`, `truncated` or go on."""
    buffer = plain_buffer(100)
    for length, end in lengths_and_ends:
        for i in range(length):
            flags = {kind: i == length - 1 and kind == end for kind in ("terminated", "truncated")}
            rew = reward(flags["terminated"])
            obs = np.zeros(FEATURES, np.float32)
            one = {
                "obs": obs,
                "obs_next": obs,
                "act": np.zeros(DIM, np.float32),
                "rew": rew,
                "done": any(flags.values()),
            }
            buffer.add(Batch(**one, **flags, info={}))
    return buffer


MIXED = ((15, "terminated"), (10, "truncated"), (3, "truncated"), (20, "goes on"))


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (episodes(*MIXED), 0.3**0.1),
        (episodes((60, "truncated"), (5, "terminated")), 0.97),  # the limit is far: 0.3^(1/60) is larger
        (episodes((5, "terminated")), 0.97),  # nothing ran out of time
        (episodes(*MIXED, reward=lambda terminated: 1.0), 0.97),  # also paid on the way
        (episodes(*MIXED, reward=lambda terminated: terminated - 1.0), 0.97),  # running out of time is not the worst
    ],
)
def test_the_discount_is_lowered_where_success_alone_is_paid_and_the_time_limit_is_near(buffer, expected):
    assert limited_discount(buffer, 0.97, 0.3) == pytest.approx(expected)
    assert limited_discount(buffer, 0.97, 1.0) == 0.97


def test_warm_up_lowers_the_discount_once_and_a_checkpoint_keeps_it():
    algorithm, buffer = build(discount_at_limit=0.3, regulariser="kl", critic_warmup_updates=2), episodes(*MIXED)
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(buffer, 8)
    assert algorithm.gamma == 0.3**0.1
    continued = build(discount_at_limit=0.3, regulariser="kl")
    continued.load_state_dict(algorithm.state_dict())
    assert continued.gamma == algorithm.gamma
    earlier = {name: value for name, value in algorithm.state_dict().items() if name != "discount"}
    without = build(regulariser="kl")
    without.load_state_dict(earlier)
    assert without.gamma == GAMMA


@pytest.mark.parametrize("magnitude", [0.5, 1.0, 2.5])
def test_the_actors_noise_fills_the_box_of_the_magnitude_and_replay_holds_u(magnitude):
    algorithm = build(magnitude=magnitude)
    with torch.no_grad():
        algorithm.policy.actor.head.bias[:DIM] = 50.0
    noise = algorithm.act(torch.zeros(2, FEATURES))
    torch.testing.assert_close(noise, torch.full((2, DIM), magnitude), rtol=1e-6, atol=0)
    u = np.array([[-1.0, 1.0], [0.5, 0.0]], np.float32)
    np.testing.assert_allclose(algorithm.policy.map_action(u), magnitude * u, rtol=1e-6)
    np.testing.assert_allclose(algorithm.policy.map_action_inverse(magnitude * u), u, atol=1e-6)


@pytest.mark.parametrize("magnitude", [0.5, 1.0, 1.5, 3.0])
def test_the_untrained_actor_plays_the_base_policys_noise_as_nearly_as_the_box_allows(magnitude):
    normal = np.random.default_rng(0).standard_normal(400000)
    clipped = np.clip(normal, -magnitude, magnitude)
    squashed = magnitude * np.tanh(prior_std(magnitude) * normal)
    assert squashed.std() == pytest.approx(clipped.std(), rel=1e-3)
    assert np.abs(squashed - clipped).mean() < 0.1
    torch.manual_seed(0)
    fresh = build_fresh(magnitude)
    mean, log_std = fresh.policy.actor(torch.randn(7, FEATURES))
    assert torch.equal(mean, torch.zeros(7, DIM))
    torch.testing.assert_close(log_std.exp(), torch.full((7, DIM), prior_std(magnitude)), rtol=1e-5, atol=0)


def build_fresh(magnitude: float) -> DSRLSAC:
    algorithm = build(magnitude)
    torch.nn.init.zeros_(algorithm.policy.actor.head.weight)
    return algorithm


def test_warming_up_fits_the_features_and_moves_the_critics_but_not_the_actor():
    algorithm, buffer = build(critic_warmup_updates=5), filled_buffer()
    actor, critic = snapshot(algorithm.policy.actor), snapshot(algorithm.critic)
    alpha = algorithm.temperature.value
    assert len(algorithm.warm_up(buffer, batch_size=8)) == 5
    np.testing.assert_allclose(algorithm.policy.scaler.mean.numpy(), buffer.obs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(algorithm.policy.scaler.std.numpy(), buffer.obs.std(0), rtol=1e-5)
    assert all(torch.equal(value, actor[name]) for name, value in snapshot(algorithm.policy.actor).items())
    assert not torch.equal(algorithm.critic.head.weight, critic["head.weight"])
    assert algorithm.temperature.value == alpha


def test_a_feature_that_never_varied_is_centred_and_bounded_later():
    algorithm = build()
    algorithm.policy.scaler.fit(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]]))
    scaled = algorithm.policy.standardise(np.array([[3.0, 5.0, 1e6]], np.float32))
    torch.testing.assert_close(scaled, torch.tensor([[1.0, 0.0, 10.0]]))


def test_a_number_fixes_the_temperature():
    algorithm, buffer = build(alpha=0.07), filled_buffer()
    stats = updated(algorithm, buffer)
    assert stats.alpha_loss is None
    assert algorithm.temperature.value.item() == pytest.approx(0.07)
    assert algorithm.temperature.value.item() == pytest.approx(stats.alpha.item())


def test_training_continues_bitwise_from_a_state_dict():
    first, buffer = build(), filled_buffer()
    for i in range(3):
        updated(first, buffer, seed=i)
    second = build()
    second.load_state_dict(first.state_dict())
    for i in range(3, 6):
        updated(first, buffer, seed=i)
        updated(second, buffer, seed=i)
    continued = second.state_dict()
    for name, value in first.state_dict().items():
        if name != "_optimizers":
            assert torch.equal(value, continued[name]), name


def test_impossible_options_are_refused_with_what_would_work():
    with pytest.raises(ValueError, match=r"sac.alpha=fixed must be a number, .* or auto"):
        build(alpha="fixed")
    with pytest.raises(ValueError, match=r"sac.alpha=0.0 must be above 0"):
        build(alpha=0.0)
    with pytest.raises(ValueError, match=r"sac.initial_alpha=-1.0 must be above 0"):
        build(initial_alpha=-1.0)
    with pytest.raises(ValueError, match=r"sac.activation=Relu must be one of ReLU, Tanh"):
        build(activation="Relu")


def test_the_target_sums_the_next_rewards_of_the_episode_before_the_value_follows_and_stays_in_bounds():
    """Transitions end in fours: terminated after the second, truncated after the fourth."""
    algorithm, buffer = build(n_step=3, regulariser="kl"), filled_buffer()
    algorithm.critic_old.module.head.weight.data *= 10_000.0  # values beyond both bounds
    algorithm._fit_to_rewards(buffer)
    torch.manual_seed(1)
    batch = algorithm._transitions(buffer, np.arange(BATCH))
    expected, rows = [], []
    for i in range(BATCH):
        total, discount, last = 0.0, 1.0, i
        for k in range(3):
            last = i + k
            total, discount = total + discount * last, discount * GAMMA
            if buffer.done[last] or last == BATCH - 1:
                break
        expected.append((SCALE * total, 0.0 if buffer.terminated[last] else discount))
        rows.append(last)
    torch.manual_seed(1)
    value = algorithm._next_value(buffer, np.array(rows))
    rewards, weights = torch.tensor(expected).T
    high, unbounded = SCALE * (BATCH - 1) / (1 - GAMMA), rewards + weights * value
    assert unbounded.min() < 0.0
    assert unbounded.max() > high
    torch.testing.assert_close(batch.returns, unbounded.clamp(0.0, high), rtol=1e-5, atol=1e-5)


def test_the_divergence_stays_out_of_the_targets_and_its_penalty_enters_the_actors_loss():
    algorithm, buffer = build(regulariser="kl", target_kl=0.25), filled_buffer()
    rows = np.arange(BATCH)
    torch.manual_seed(1)
    cheap = algorithm._transitions(buffer, rows).returns
    algorithm.temperature.log_alpha.data.fill_(5.0)
    torch.manual_seed(1)
    assert torch.equal(algorithm._transitions(buffer, rows).returns, cheap)
    mean, log_std = algorithm.policy.actor(algorithm.policy.standardise(buffer.obs))
    penalty = algorithm.regulariser.penalty(mean, log_std, torch.zeros(BATCH)).mean()
    stats = updated(algorithm, buffer)
    torch.testing.assert_close(stats.penalty, penalty.detach())
    torch.testing.assert_close(stats.alpha_loss, -5.0 * (penalty.detach() - 0.25))


def test_rewards_in_other_units_lead_to_the_same_actor():
    actors = []
    for unit in (1.0, 1000.0):
        algorithm = build(regulariser="kl", reward_scale="auto", critic_warmup_updates=2)
        buffer = filled_buffer(lambda i, unit=unit: unit * (i % 3))
        torch.manual_seed(2)
        algorithm.warm_up(buffer, 8)
        for seed in range(3):
            updated(algorithm, buffer, seed)
        actors.append(snapshot(algorithm.policy.actor))
    for name, value in actors[0].items():
        torch.testing.assert_close(actors[1][name], value, rtol=1e-4, atol=1e-5)
