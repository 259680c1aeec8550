"""The equations of DSRL-NA against references written out by hand, with an affine frozen policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.affine import ACTION, BY_FEATURES, BY_NOISE, GAMMA, HORIZON, TAU, build_na, na_buffer
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, plain_buffer

from dsrl.sac.dsrl_na import DSRLNA


def learned(algorithm: DSRLNA, buffer: ReplayBuffer, batch_size: int = 0, updates: int = 1, seed: int = 1):
    """One round of learning, with the random numbers that `seed` gives; batch size 0 is the whole buffer in order."""
    torch.manual_seed(seed)
    with policy_within_training_step(algorithm.policy):
        return algorithm.learn(buffer, batch_size, updates)


class Reference:
    """The tensors of a buffer, scaled by hand, and the affine policy."""

    def __init__(self, algorithm: DSRLNA, buffer: ReplayBuffer) -> None:
        self.scaler, self.chunk_scaler = algorithm.policy.scaler, algorithm.chunk_scaler
        self.raw, self.raw_next = torch.as_tensor(buffer.obs), torch.as_tensor(buffer.obs_next)
        self.s, self.s_next = self.scale(self.raw), self.scale(self.raw_next)
        self.shift = torch.as_tensor(buffer.info.before.stored_shift)
        self.shift_next = torch.as_tensor(buffer.info.after.stored_shift)
        self.a = self.scale_chunk(torch.as_tensor(buffer.info.chunk).reshape(-1, HORIZON * ACTION))
        self.r = torch.as_tensor(buffer.rew, dtype=torch.float32)
        self.d = torch.as_tensor(buffer.terminated, dtype=torch.float32)

    def scale(self, features):
        return (features - self.scaler.mean) / self.scaler.std

    def scale_chunk(self, flat):
        return ((flat - self.chunk_scaler.mean) / self.chunk_scaler.std).clamp(-10, 10)

    def decode(self, features, shift, w):
        return self.scale_chunk(w @ BY_NOISE + features @ BY_FEATURES + shift)


def stacked_q(state, features, choice):
    return torch.stack([reference_q(state, j, features, choice) for j in range(3)])


@pytest.mark.parametrize("magnitude", [0.5, 1.5, 2.5])
def test_the_losses_of_an_update_are_those_of_the_equations_and_honour_the_magnitude(magnitude):
    algorithm, buffer = build_na(magnitude), na_buffer()
    expected = Reference(algorithm, buffer)
    modules = (algorithm.policy.actor, algorithm.critic, algorithm.critic_old.module, algorithm.noise_critic)
    actor, critic, target, noise_critic = map(snapshot, modules)
    stats = learned(algorithm, buffer)[0]

    torch.manual_seed(1)
    normal_next, normal = torch.randn(BATCH, DIM), torch.randn(BATCH, DIM)
    u_next, log_prob_next = reference_pi(actor, expected.s_next, normal_next)
    u, log_prob = reference_pi(actor, expected.s, normal)
    a_next = expected.decode(expected.raw_next, expected.shift_next, magnitude * u_next)
    q_next = stacked_q(target, expected.s_next, a_next).min(0).values  # Q̄^A of the decoded chunk
    y = expected.r + (1 - expected.d) * GAMMA * (q_next - 0.3 * log_prob_next)  # log π is that of u
    critic_loss = 0.5 * sum(((reference_q(critic, j, expected.s, expected.a) - y) ** 2).mean() for j in range(3))
    actor_loss = (0.3 * log_prob - stacked_q(noise_critic, expected.s, u).min(0).values).mean()
    alpha_loss = -(math.log(0.3) * (log_prob + -DIM)).mean()

    torch.testing.assert_close(stats.critic_loss, critic_loss, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(stats.actor_loss, actor_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.alpha_loss, alpha_loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.entropy, -log_prob.mean(), rtol=1e-6, atol=1e-6)
    new_critic = snapshot(algorithm.critic)
    for name, value in snapshot(algorithm.critic_old.module).items():
        torch.testing.assert_close(value, TAU * new_critic[name] + (1 - TAU) * target[name])


def distilled(**changes) -> tuple[DSRLNA, ReplayBuffer]:
    """DSRL-NA whose targets are distilled, and a buffer with two stored draws of each state."""
    algorithm, buffer = build_na(base_draws=2, targets="distilled", **changes), na_buffer()
    rng = np.random.default_rng(1)
    buffer.info.draws = rng.standard_normal((BATCH, 2, DIM)).astype(np.float32)
    buffer.info.draw_chunks = rng.standard_normal((BATCH, 2, HORIZON, ACTION)).astype(np.float32)
    return algorithm, buffer


def test_distilled_targets_are_those_of_the_target_critics_of_noise_and_nothing_is_decoded():
    algorithm, buffer = distilled()
    with torch.no_grad():  # online critics, and those of chunks, would give another result
        for critics in (algorithm.noise_critic, algorithm.critic_old.module):
            critics.head.bias.add_(100.0)
    expected = Reference(algorithm, buffer)
    torch.manual_seed(1)
    returns = algorithm._transitions(buffer, np.arange(BATCH)).returns

    torch.manual_seed(1)
    actor, target = snapshot(algorithm.policy.actor), snapshot(algorithm.noise_critic_old.module)
    u, log_prob = reference_pi(actor, expected.s_next, torch.randn(BATCH, DIM))
    value = stacked_q(target, expected.s_next, u).min(0).values - 0.3 * log_prob
    torch.testing.assert_close(returns, expected.r + (1 - expected.d) * GAMMA * value, rtol=1e-5, atol=1e-5)
    assert algorithm.decoder.vectors == []


def test_the_target_critics_of_noise_follow_the_critics_of_noise():
    algorithm, buffer = distilled()
    target, followed = snapshot(algorithm.noise_critic_old.module), snapshot(algorithm.noise_critic)
    learned(algorithm, buffer)  # one step of A, then those of B
    for name, value in snapshot(algorithm.noise_critic_old.module).items():
        torch.testing.assert_close(value, TAU * followed[name] + (1 - TAU) * target[name])


def test_training_with_distilled_targets_continues_bitwise_from_a_state_dict():
    (first, buffer), (second, _) = distilled(), distilled()
    learned(first, buffer, updates=2, seed=1)
    second.load_state_dict(first.state_dict())
    for algorithm in (first, second):
        learned(algorithm, buffer, updates=2, seed=2)
    continued = second.state_dict()
    tensors = {name: value for name, value in first.state_dict().items() if name != "_optimizers"}
    assert any("noise_critic_old" in name for name in tensors)
    assert all(torch.equal(value, continued[name]) for name, value in tensors.items())


def test_both_critics_warm_up_in_turns_where_the_targets_of_one_follow_the_other(monkeypatch):
    algorithm, buffer = distilled(critic_warmup_updates=2)
    calls: list[str] = []
    for name in ("_critic_step", "_update_lagged_network_weights", "_distillation_step"):
        monkeypatch.setattr(algorithm, name, _recorded(calls, name, getattr(algorithm, name)))
    assert len(algorithm.warm_up(buffer, batch_size=8)) == 4
    assert calls == 2 * ["_critic_step", "_update_lagged_network_weights", "_distillation_step"]


def test_only_states_that_do_not_follow_a_termination_are_denoised_for_the_target():
    algorithm, buffer = build_na(1.5), na_buffer()
    batch = algorithm._transitions(buffer, np.arange(BATCH))
    (vectors,) = algorithm.decoder.vectors
    assert len(vectors) == (~buffer.terminated).sum() == 12
    assert vectors.abs().max() <= 1.5
    assert torch.equal(batch.returns[1::4], torch.arange(BATCH, dtype=torch.float32)[1::4])


def test_the_value_that_follows_several_rewards_is_decoded_at_the_context_after_the_last_of_them():
    """Transitions end in fours: terminated after the second, truncated after the fourth."""
    algorithm, buffer = build_na(n_step=3), na_buffer()
    expected, rows = Reference(algorithm, buffer), np.arange(BATCH)
    torch.manual_seed(1)
    returns = algorithm._transitions(buffer, rows).returns

    last = torch.as_tensor([i + (1 - i % 2) for i in range(BATCH)])
    torch.manual_seed(1)
    actor, target = snapshot(algorithm.policy.actor), snapshot(algorithm.critic_old.module)
    u, log_prob = reference_pi(actor, expected.s_next[last], torch.randn(BATCH, DIM))
    a = expected.decode(expected.raw_next[last], expected.shift_next[last], 1.5 * u)
    value = stacked_q(target, expected.s_next[last], a).min(0).values - 0.3 * log_prob
    both = torch.as_tensor(rows % 2 == 0)  # rewards before the end
    rewards = torch.where(both, expected.r + GAMMA * expected.r[last], expected.r)
    discounts = torch.where(both, GAMMA**2, GAMMA) * (1 - expected.d[last])
    torch.testing.assert_close(returns, rewards + discounts * value, rtol=1e-5, atol=1e-5)


def test_learning_copies_no_whole_transitions(monkeypatch):
    algorithm, buffer = build_na(n_step=3, critic_warmup_updates=1), na_buffer()
    monkeypatch.setattr(ReplayBuffer, "__getitem__", lambda *_: pytest.fail("contexts of all rows were copied"))
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(buffer, 8)
    assert len(learned(algorithm, buffer, batch_size=8)) == 1 + 4


@pytest.mark.parametrize("magnitude", [0.5, 1.5])
def test_distillation_is_head_by_head_from_the_online_critics_on_unclipped_noise(magnitude):
    algorithm, buffer = build_na(magnitude), na_buffer()
    with torch.no_grad():  # a target that would give another result
        algorithm.critic_old.module.head.bias.add_(100.0)
    expected = Reference(algorithm, buffer)
    critic, noise_critic = snapshot(algorithm.critic), snapshot(algorithm.noise_critic)
    torch.manual_seed(1)
    (stats,) = algorithm._distil(buffer, 0, 1)

    torch.manual_seed(1)
    w = torch.randn(BATCH, DIM)
    assert w.abs().max() > magnitude
    a = expected.decode(expected.raw, expected.shift, w)
    heads = [
        reference_q(noise_critic, j, expected.s, w / magnitude) - reference_q(critic, j, expected.s, a)
        for j in range(3)
    ]
    loss = 0.5 * sum((head**2).mean() for head in heads)
    torch.testing.assert_close(stats.distillation_loss, loss, rtol=1e-6, atol=1e-6)


def test_chunk_critics_learn_first_then_distillation_each_in_its_number_and_order(monkeypatch):
    algorithm, buffer = build_na(), na_buffer()
    calls: list[str] = []
    for name in ("_temperature_step", "_critic_step", "_actor_step", "_update_lagged_network_weights"):
        monkeypatch.setattr(algorithm, name, _recorded(calls, name, getattr(algorithm, name)))
    monkeypatch.setattr(algorithm, "_distillation_step", _recorded(calls, "distil", algorithm._distillation_step))
    stats = learned(algorithm, buffer, batch_size=8, updates=3)
    a = ["_temperature_step", "_critic_step", "_actor_step", "_update_lagged_network_weights"]
    assert calls == 3 * a + 4 * ["distil"]
    assert len(stats) == 3 + 4
    assert learned(algorithm, buffer, batch_size=8, updates=0) == []


def _recorded(calls, name, method):
    def call(*arguments):
        calls.append(name)
        return method(*arguments)

    return call


def test_the_actor_moves_no_critic_and_distillation_only_the_critics_of_noise():
    algorithm, buffer = build_na(), na_buffer()
    features = torch.randn(4, FEATURES)
    algorithm._actor_step(features, *algorithm.policy.draw(features)[:2], torch.tensor(0.1))
    critics = [*algorithm.critic.parameters(), *algorithm.noise_critic.parameters()]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in critics)
    critic, actor = snapshot(algorithm.critic), snapshot(algorithm.policy.actor)
    noise_critic = snapshot(algorithm.noise_critic)
    algorithm._distil(buffer, 8, 2)
    assert all(parameter.grad is None for parameter in algorithm.critic.parameters())
    assert all(torch.equal(value, critic[name]) for name, value in snapshot(algorithm.critic).items())
    assert all(torch.equal(value, actor[name]) for name, value in snapshot(algorithm.policy.actor).items())
    assert not torch.equal(algorithm.noise_critic.head.weight, noise_critic["head.weight"])


def test_warming_up_fits_both_scalings_and_both_critics_but_leaves_the_actor():
    algorithm, buffer = build_na(critic_warmup_updates=3), na_buffer()
    before = {name: snapshot(module) for name, module in algorithm.named_children()}
    stats = algorithm.warm_up(buffer, batch_size=8)
    assert len(stats) == 3 + 3
    flat = buffer.info.chunk.reshape(BATCH, -1)
    np.testing.assert_allclose(algorithm.chunk_scaler.mean.numpy(), flat.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(algorithm.chunk_scaler.std.numpy(), flat.std(0), rtol=1e-5)
    assert not torch.equal(algorithm.critic.head.weight, before["critic"]["head.weight"])
    assert not torch.equal(algorithm.noise_critic.head.weight, before["noise_critic"]["head.weight"])
    actor = {name: value for name, value in before["policy"].items() if name.startswith("actor")}
    assert all(torch.equal(value, actor[f"actor.{name}"]) for name, value in snapshot(algorithm.policy.actor).items())


def test_training_continues_bitwise_from_a_state_dict_the_critics_of_noise_included():
    first, buffer = build_na(), na_buffer()
    learned(first, buffer, updates=2, seed=1)
    second = build_na()
    second.load_state_dict(first.state_dict())
    for algorithm in (first, second):
        learned(algorithm, buffer, updates=2, seed=2)
    continued = second.state_dict()
    for name, value in first.state_dict().items():
        if name != "_optimizers":
            assert torch.equal(value, continued[name]), name


def test_the_actor_finds_noise_whose_chunk_was_never_taken_with_any_noise():
    """Replay holds chunks of unknown noise, rewarded by nearness to that of w = (0.8, -0.6); s and shift are 0."""
    wanted = torch.tensor([0.8, -0.6])
    options = {"hidden": 32, "activation": "ReLU", "alpha": 0.001, "noise_critic_grad_steps": 300}
    algorithm, rng = build_na(1.0, **options), np.random.default_rng(0)
    buffer = plain_buffer(256)
    for _ in range(256):
        chunk = (torch.as_tensor(rng.standard_normal(DIM), dtype=torch.float32) @ BY_NOISE).numpy()
        reward = -float(np.square(chunk - (wanted @ BY_NOISE).numpy()).sum()) / 4
        zero, still = np.zeros(FEATURES, np.float32), {"stored_shift": np.zeros(HORIZON * ACTION, np.float32)}
        info = {"chunk": chunk.reshape(HORIZON, ACTION), "before": still, "after": still}
        end = {"terminated": True, "truncated": False, "done": True}
        buffer.add(Batch(obs=zero, obs_next=zero, act=np.full(DIM, np.nan), rew=reward, info=info, **end))
    algorithm.warm_up(buffer, 64)
    algorithm.policy.actor.head.weight.data.zero_()
    with policy_within_training_step(algorithm.policy):
        for _ in range(3):
            algorithm.learn(buffer, 64, 150)
    found = algorithm.act(torch.zeros(1, FEATURES))
    torch.testing.assert_close(found[0], wanted, rtol=0, atol=0.2)


def test_impossible_options_are_refused_with_what_would_work():
    with pytest.raises(ValueError, match=r"sac.replay=observations must be one of context, exact_context, observation"):
        build_na(replay="observations")
    with pytest.raises(ValueError, match=r"sac.noise_critic_grad_steps=0 must be at least 1"):
        build_na(noise_critic_grad_steps=0)
    with pytest.raises(ValueError, match=r"sac.targets=fresh must be one of distilled, decoded"):
        build_na(targets="fresh")
    with pytest.raises(ValueError, match=r"sac.base_draws=0 decodes .* sac.targets=decoded goes with it"):
        build_na(targets="distilled", base_draws=0)


def test_stored_draws_are_distilled_with_their_chunks_and_nothing_is_decoded():
    algorithm, buffer = build_na(base_draws=3), na_buffer()
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((BATCH, 3, DIM)).astype(np.float32)
    chunks = rng.standard_normal((BATCH, 3, HORIZON, ACTION)).astype(np.float32)
    buffer.info.draws, buffer.info.draw_chunks = draws, chunks
    expected = Reference(algorithm, buffer)
    critic, noise_critic = snapshot(algorithm.critic), snapshot(algorithm.noise_critic)
    torch.manual_seed(1)
    (stats,) = algorithm._distil(buffer, 0, 1)

    torch.manual_seed(1)
    which = torch.randint(3, (BATCH,)).numpy()
    w = torch.as_tensor(draws[np.arange(BATCH), which])
    a = expected.scale_chunk(torch.as_tensor(chunks[np.arange(BATCH), which]).reshape(BATCH, -1))
    heads = stacked_q(noise_critic, expected.s, w / 1.5) - stacked_q(critic, expected.s, a)
    torch.testing.assert_close(stats.distillation_loss, 0.5 * (heads**2).mean(1).sum(), rtol=1e-6, atol=1e-6)
    assert algorithm.decoder.vectors == []


def test_distillation_takes_three_steps_for_each_update_unless_a_number_is_set():
    algorithm, buffer = build_na(noise_critic_grad_steps="auto"), na_buffer()
    assert len(learned(algorithm, buffer, batch_size=8, updates=2)) == 2 + 3 * 2
