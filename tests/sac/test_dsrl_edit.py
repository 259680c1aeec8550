"""The equations of the edit head against references written out by hand, with an affine frozen policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from torch.nn import functional
from toys.affine import ACTION, BY_FEATURES, BY_NOISE, GAMMA, HORIZON, build_affine, na_buffer
from toys.options import EDIT
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES, plain_buffer

from dsrl.edits import within
from dsrl.interfaces import Encoding
from dsrl.sac.dsrl_edit import DSRLEdit, build_dsrl_edit

B, SIGMA, SIZE = 1.5, 0.5, HORIZON * ACTION
LOW, HIGH = torch.full((ACTION,), -1.5), torch.full((ACTION,), 1.5)


def build(*, moved: bool = True, bounds=(LOW, HIGH), **changes) -> DSRLEdit:
    """Build it with edits up to 0.5 to 2 in action units; `moved` leaves the start, where all edits are zero."""
    algorithm = build_affine(build_dsrl_edit, EDIT, B, action_bounds=bounds, **changes)
    with torch.no_grad():
        algorithm.head.reach.copy_(torch.linspace(0.5, 2.0, SIZE))
        if moved:
            algorithm.head.head.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(7))
    return algorithm


def standardised(algorithm, features):
    return (features - algorithm.policy.scaler.mean) / algorithm.policy.scaler.std


def scaled(algorithm, flat):
    return ((flat - algorithm.chunk_scaler.mean) / algorithm.chunk_scaler.std).clamp(-10, 10)


def mean_by_hand(algorithm, features, flat):
    """Return m, written out layer by layer."""
    state = snapshot(algorithm.head)
    values = torch.cat([features, scaled(algorithm, flat)], 1)
    for layer in (0, 3):
        values = functional.linear(values, state[f"trunk.{layer}.weight"], state[f"trunk.{layer}.bias"])
        gain, offset = state[f"trunk.{layer + 1}.weight"], state[f"trunk.{layer + 1}.bias"]
        values = torch.tanh(functional.layer_norm(values, (8,), gain, offset))
    return functional.linear(values, state["head.weight"], state["head.bias"])


def edited_by_hand(algorithm, flat, raw):
    """Return the edited chunks: beyond ±1.5 only where the chunk itself was, and then no further."""
    edited = flat + torch.linspace(0.5, 2.0, SIZE) * torch.tanh(raw)
    return torch.maximum(torch.minimum(edited, flat.clamp(min=1.5)), flat.clamp(max=-1.5))


def smallest_q(state, features, choice):
    return torch.stack([reference_q(state, j, features, choice) for j in range(3)]).min(0).values


def test_the_target_is_the_larger_value_of_the_chunk_and_its_edit():
    algorithm, buffer = build(), na_buffer()
    s_next = standardised(algorithm, torch.as_tensor(buffer.obs_next))
    torch.manual_seed(1)
    batch = algorithm._transitions(buffer, np.arange(BATCH))

    torch.manual_seed(1)
    u, log_prob = reference_pi(snapshot(algorithm.policy.actor), s_next, torch.randn(BATCH, DIM))
    shift = torch.as_tensor(buffer.info.after.stored_shift)
    a = B * u @ BY_NOISE + torch.as_tensor(buffer.obs_next) @ BY_FEATURES + shift
    edited = edited_by_hand(algorithm, a, mean_by_hand(algorithm, s_next, a))
    target = snapshot(algorithm.critic_old.module)
    values = torch.stack([smallest_q(target, s_next, scaled(algorithm, one)) for one in (a, edited)])
    going = ~torch.as_tensor(buffer.terminated)
    assert len(set(values.argmax(0)[going].tolist())) == 2  # each is the better one in some states
    expected = torch.as_tensor(buffer.rew, dtype=torch.float32)
    expected = expected + going * GAMMA * (values.max(0).values - 0.3 * log_prob)
    torch.testing.assert_close(batch.returns, expected, rtol=1e-5, atol=1e-5)


def test_the_losses_of_edits_are_those_of_the_equations():
    algorithm, buffer = build(edit_kl=0.2), na_buffer()
    s, chunk = standardised(algorithm, torch.as_tensor(buffer.obs)), torch.as_tensor(buffer.info.chunk)
    flat, critic = chunk.flatten(1), snapshot(algorithm.critic)
    m = mean_by_hand(algorithm, s, flat)
    before = algorithm.edit_temperature.log_alpha.detach().clone()
    torch.manual_seed(1)
    edit_loss, edit_penalty, edit_alpha = algorithm._edit_step(s, chunk)

    torch.manual_seed(1)
    edited = edited_by_hand(algorithm, flat, m + SIGMA * torch.randn(BATCH, SIZE))
    penalty = (m**2).mean(1) / (2 * SIGMA**2)  # KL(N(m, σ²) ‖ N(0, σ²)) per number
    loss = (0.3 * penalty - smallest_q(critic, s, scaled(algorithm, edited))).mean()
    torch.testing.assert_close(edit_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(edit_penalty, penalty.mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(edit_alpha, torch.tensor(0.3))
    grew = algorithm.edit_temperature.log_alpha.detach() > before  # by Adam, whose first step is its learning rate
    assert grew == (penalty.mean() > 0.2)


def test_an_update_takes_the_steps_of_dsrl_na_and_one_of_the_edits_which_moves_no_critic():
    algorithm, buffer = build(), na_buffer()
    with policy_within_training_step(algorithm.policy):
        (stats, *distillation) = algorithm.learn(buffer, 0, 1)
    assert {"critic_loss", "actor_loss", "edit_loss", "edit_alpha"} <= stats.get_loss_stats_dict().keys()
    assert len(distillation) == 4
    critic, actor, head = (snapshot(module) for module in (algorithm.critic, algorithm.policy.actor, algorithm.head))
    algorithm._edit_step(torch.randn(4, FEATURES), torch.randn(4, HORIZON, ACTION))
    assert all(torch.equal(value, critic[name]) for name, value in snapshot(algorithm.critic).items())
    assert all(torch.equal(value, actor[name]) for name, value in snapshot(algorithm.policy.actor).items())
    assert not torch.equal(algorithm.head.head.weight, head["head.weight"])
    assert all(parameter.requires_grad for parameter in algorithm.critic.parameters())


def test_play_chooses_by_the_smallest_value_among_the_chunk_its_edit_and_in_training_drawn_edits():
    algorithm, chosen = build(edit_draws=2), {}
    raw = torch.randn(40, FEATURES, generator=torch.Generator().manual_seed(3))
    flat = torch.randn(40, SIZE, generator=torch.Generator().manual_seed(4))
    features, chunk = standardised(algorithm, raw), flat.view(-1, HORIZON, ACTION)
    m = mean_by_hand(algorithm, features, flat)
    torch.manual_seed(2)
    draws = [edited_by_hand(algorithm, flat, m + SIGMA * torch.randn(40, SIZE)) for _ in range(2)]
    for training, edits in ((False, []), (True, draws)):
        candidates = torch.stack([flat, edited_by_hand(algorithm, flat, m), *edits])
        critic = snapshot(algorithm.critic)
        values = torch.stack([smallest_q(critic, features, scaled(algorithm, one)) for one in candidates])
        chosen[training] = set(values.argmax(0).tolist())
        expected = candidates[values.argmax(0), torch.arange(40)].view(-1, HORIZON, ACTION)
        torch.manual_seed(2)
        algorithm.policy.is_within_training_step = training
        torch.testing.assert_close(algorithm.edit(Encoding(raw, {}), chunk), expected, rtol=1e-5, atol=1e-5)
    assert chosen == {False: {0, 1}, True: {0, 1, 2, 3}}


def test_before_the_first_step_evaluations_play_the_chunk_to_the_last_bit_also_beyond_the_bounds():
    algorithm, chunk = build(moved=False), 3 * torch.randn(50, HORIZON, ACTION)
    assert chunk.abs().max() > 1.5
    encoding, state = Encoding(torch.randn(50, FEATURES), {}), torch.get_rng_state()
    assert torch.equal(algorithm.edit(encoding, chunk), chunk)
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn


def test_an_edit_stays_within_the_actions_and_where_a_chunk_lies_beyond_them_it_goes_no_further():
    chunk = torch.tensor([[[0.0, 1.4], [2.0, -3.0]]])
    edited = within(chunk, chunk + 0.5, LOW, HIGH), within(chunk, chunk - 0.5, LOW, HIGH)
    torch.testing.assert_close(edited[0], torch.tensor([[[0.5, 1.5], [2.0, -2.5]]]))
    torch.testing.assert_close(edited[1], torch.tensor([[[-0.5, 0.9], [1.5, -3.0]]]))
    free, flat = build(bounds=None), 3 * torch.randn(20, SIZE)
    moved = free.head.applied(flat.view(-1, HORIZON, ACTION), torch.full((20, SIZE), 9.0)).flatten(1)
    torch.testing.assert_close(moved, flat + torch.linspace(0.5, 2.0, SIZE), rtol=0, atol=1e-5)


def test_the_reach_is_a_share_of_the_spread_of_warm_up_and_a_number_that_never_varies_is_not_edited():
    algorithm, buffer = build(edit_scale=0.2), na_buffer()
    buffer.info.chunk[:, 0, 0] = 4.0
    algorithm.warm_up(buffer, 8)
    spread = buffer.info.chunk.reshape(BATCH, -1).std(0)
    np.testing.assert_allclose(algorithm.head.reach.numpy(), 0.2 * spread, rtol=1e-5)
    assert algorithm.head.reach[0] == 0


def test_edits_are_learnt_at_executed_chunks_and_as_often_at_those_of_base_noise():
    algorithm, buffer = build(base_draws=3), na_buffer(400)
    buffer.info.draw_chunks = 100 + np.zeros((400, 3, HORIZON, ACTION), np.float32)
    torch.manual_seed(0)
    chunks = algorithm._edited_chunks(buffer, np.arange(400))
    base = (chunks == 100).all(2).all(1)
    assert 150 < base.sum() < 250
    np.testing.assert_array_equal(chunks[~base].numpy(), buffer.info.chunk[~base.numpy()])


def test_the_edit_finds_what_no_noise_decodes_to():
    """The reward is nearness to a chunk 0.4 beside the only one that noise decodes to; edits reach up to 0.5."""
    algorithm, rng = build(moved=False, bounds=None, hidden=32, edit_kl=2.0), np.random.default_rng(0)
    buffer, zero = plain_buffer(512), np.zeros(FEATURES, np.float32)
    wanted, still = np.array([0.4, -0.4, 0.4, -0.4], np.float32), {"stored_shift": np.zeros(SIZE, np.float32)}
    for _ in range(512):
        chunk = rng.uniform(-0.5, 0.5, SIZE).astype(np.float32)  # play with drawn edits
        reward = -4 * float(np.square(chunk - wanted).sum())
        info = {"chunk": chunk.reshape(HORIZON, ACTION), "before": still, "after": still}
        end = {"terminated": True, "truncated": False, "done": True}
        buffer.add(Batch(obs=zero, obs_next=zero, act=np.full(DIM, np.nan), rew=reward, info=info, **end))
    algorithm.warm_up(buffer, 64)
    algorithm.head.reach.fill_(0.5)
    with policy_within_training_step(algorithm.policy):
        algorithm.learn(buffer, 64, 400)
    decoded = torch.zeros(1, HORIZON, ACTION)
    played = algorithm.edit(Encoding(torch.zeros(1, FEATURES), {}), decoded).flatten().numpy()
    assert np.square(played - wanted).sum() < 0.5 * np.square(wanted).sum()


def test_targets_that_value_no_edits_are_refused():
    with pytest.raises(ValueError, match=r"sac.targets=distilled would value no edits; type sac.targets=decoded"):
        build(targets="distilled", base_draws=2)


@pytest.mark.parametrize("name", ["edit_scale", "edit_noise", "edit_kl"])
def test_an_edit_of_no_size_is_refused_with_the_choice_that_edits_nothing(name):
    with pytest.raises(ValueError, match=rf"sac.{name}=0.0 must be above 0; sac=dsrl_na edits nothing"):
        build(**{name: 0.0})
