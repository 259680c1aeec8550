"""Selection among noises by the noise critic, against references written out by hand, with an affine frozen policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.affine import BY_FEATURES, BY_NOISE, GAMMA, build_affine, build_na, na_buffer
from toys.options import SELECT
from toys.references import reference_pi, reference_q, snapshot
from toys.replay import BATCH, DIM, FEATURES

from dsrl.sac.dsrl_select import DSRLSelect, build_dsrl_select

N, B = 4, 1.5


def build(**changes) -> DSRLSelect:
    """Build it with four candidates and the normal numbers of evaluations drawn from seed 5."""
    algorithm = build_affine(build_dsrl_select, SELECT | {"candidates": N}, B, **changes)
    algorithm.policy.normals.copy_(torch.randn(N - 1, DIM, generator=torch.Generator().manual_seed(5)))
    return algorithm


def smallest_q(state, features, choice):
    return torch.stack([reference_q(state, j, features, choice) for j in range(3)]).min(0).values


def chosen_by_hand(algorithm, features, u):
    """Return for each state of u [n, N, dim] the index of the largest of the smallest values."""
    noise_critic = snapshot(algorithm.noise_critic)
    values = [smallest_q(noise_critic, features, u[:, i]) for i in range(u.shape[1])]
    return torch.stack(values, 1).argmax(1)


def standardised(algorithm, features):
    return (features - algorithm.policy.scaler.mean) / algorithm.policy.scaler.std


def drawn_by_hand(algorithm, features, seed):
    """Return u [n, N, dim] and its log density [n, N], drawn with the random numbers of `seed`, N states in a row."""
    torch.manual_seed(seed)
    normal = torch.randn(len(features) * N, DIM)
    u, log_prob = reference_pi(snapshot(algorithm.policy.actor), features.repeat_interleave(N, 0), normal)
    return u.view(-1, N, DIM), log_prob.view(-1, N)


def test_training_plays_of_n_draws_the_one_that_the_noise_critics_value_most():
    algorithm, raw = build(), torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(3))
    features = standardised(algorithm, raw)
    u, log_prob = drawn_by_hand(algorithm, features, seed=2)
    best = chosen_by_hand(algorithm, features, u)
    torch.manual_seed(2)
    with policy_within_training_step(algorithm.policy), torch.no_grad():
        played = algorithm.policy(Batch(obs=raw.numpy(), info=Batch()))
    assert len(set(best.tolist())) == N  # of 20 states, each candidate is the best of some
    torch.testing.assert_close(played.act, u[torch.arange(20), best])
    torch.testing.assert_close(played.log_prob, log_prob[torch.arange(20), best], rtol=1e-5, atol=1e-5)


def test_evaluations_choose_between_the_mean_and_draws_of_constant_normal_numbers():
    algorithm, raw = build(), torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(3))
    features = standardised(algorithm, raw)
    normals = torch.cat([torch.zeros(1, DIM), algorithm.policy.normals])
    actor = snapshot(algorithm.policy.actor)
    u = torch.stack([reference_pi(actor, features, normal.expand(20, DIM))[0] for normal in normals], 1)
    best = chosen_by_hand(algorithm, features, u)
    torch.testing.assert_close(algorithm.act(raw), B * u[torch.arange(20), best])
    normal = torch.randn(20, DIM)
    drawn = reference_pi(actor, features, normal)[0]
    torch.testing.assert_close(algorithm.act(raw, normal), B * drawn)
    algorithm.play("draws")  # w = 0 fails: the first candidate is a draw
    u[:, 0] = drawn
    best = chosen_by_hand(algorithm, features, u)
    torch.testing.assert_close(algorithm.act(raw, normal), B * u[torch.arange(20), best])
    torch.nn.init.zeros_(algorithm.policy.actor.head.weight)  # before its first step it is the base policy
    assert len(set(best.tolist())) > 1
    assert not torch.equal(algorithm.act(raw, normal), algorithm.act(raw, -normal))


def test_targets_decode_the_selected_noise_once_and_contain_its_density():
    algorithm, buffer = build(), na_buffer()
    s_next = standardised(algorithm, torch.as_tensor(buffer.obs_next))
    u, log_prob = drawn_by_hand(algorithm, s_next, seed=1)
    rows, best = torch.arange(BATCH), chosen_by_hand(algorithm, s_next, u)
    torch.manual_seed(1)
    batch = algorithm._transitions(buffer, np.arange(BATCH))

    shift = torch.as_tensor(buffer.info.after.stored_shift)
    a = B * u[rows, best] @ BY_NOISE + torch.as_tensor(buffer.obs_next) @ BY_FEATURES + shift
    a = ((a - algorithm.chunk_scaler.mean) / algorithm.chunk_scaler.std).clamp(-10, 10)
    value = smallest_q(snapshot(algorithm.critic_old.module), s_next, a) - 0.3 * log_prob[rows, best]
    going = 1 - torch.as_tensor(buffer.terminated, dtype=torch.float32)
    expected = torch.as_tensor(buffer.rew, dtype=torch.float32) + going * GAMMA * value
    torch.testing.assert_close(batch.returns, expected, rtol=1e-5, atol=1e-5)
    (vectors,) = algorithm.decoder.vectors
    assert len(vectors) == 12  # one for each state that does not follow a termination


def test_without_selection_in_targets_all_losses_are_those_of_dsrl_na():
    selecting, plain, buffer = build(select_targets=False), build_na(B), na_buffer()
    selecting.load_state_dict(plain.state_dict() | {"policy.normals": selecting.policy.normals})
    found = []
    for algorithm in (selecting, plain):
        torch.manual_seed(1)
        buffer = na_buffer()
        with policy_within_training_step(algorithm.policy):
            found.append([stats.get_loss_stats_dict() for stats in algorithm.learn(buffer, 0, 2)])
    assert found[0] == found[1]


def test_the_noise_critic_that_chooses_is_not_trained_with_the_actor():
    algorithm = build()
    actor = {id(parameter) for parameter in algorithm.policy.parameters()}
    assert not actor & {id(parameter) for parameter in algorithm.noise_critic.parameters()}
    torch.manual_seed(0)
    algorithm.policy.best_draw(torch.randn(4, FEATURES)).noise.sum().backward()
    assert all(parameter.grad is None for parameter in algorithm.noise_critic.parameters())


def test_a_single_candidate_is_refused_with_the_choice_that_has_one():
    with pytest.raises(ValueError, match=r"sac.candidates=1 must be at least 2; sac=dsrl_na decodes the only one"):
        build_affine(build_dsrl_select, SELECT, candidates=1)
