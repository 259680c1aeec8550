"""A constant that every decision is paid, and one that every time-out is paid, change nothing that is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.options import AUTO
from toys.replay import DIM, FEATURES

from dsrl.noise.space import NoiseSpace
from dsrl.sac._returns import LARGEST, RewardScale
from dsrl.sac._reward_centre import RewardCentre
from dsrl.sac.dsrl_sac import DSRLSAC, build_dsrl_sac
from dsrl.training.replay_buffer import Replay

NUM, LENGTH = 4, 6


def build(**changes) -> DSRLSAC:
    options = AUTO | {"regulariser": "kl", "reward_scale": "auto", "critic_warmup_updates": 2} | changes
    return build_dsrl_sac(Box(-np.inf, np.inf, (FEATURES,), np.float32), NoiseSpace(DIM, 1.5), **options)


def play(
    offset: float = 0.0,
    at_end: float = 0.0,
    *,
    terminated: bool = False,
    spread: float = 1.0,
    size: int = 64,
    recorded: bool = False,
) -> Replay:
    """Return episodes of LENGTH decisions whose rewards differ by `spread`, in one part for each of NUM worlds.

    The same that world 0 has played are offline data where they are `recorded`.
    """
    drawn = np.random.default_rng(0)
    buffer = Replay(size, NUM, 0, offline=2 * LENGTH * recorded)
    for i in range(2 * LENGTH):
        last = i % LENGTH == LENGTH - 1
        ends = {"terminated": last and terminated, "truncated": last and not terminated, "done": last}
        rows = [
            Batch(
                obs=drawn.normal(size=FEATURES).astype(np.float32),
                obs_next=drawn.normal(size=FEATURES).astype(np.float32),
                act=drawn.uniform(-0.9, 0.9, DIM).astype(np.float32),
                rew=spread * drawn.normal() + offset + at_end * last,
                info={},
                **ends,
            )
            for _ in range(NUM)
        ]
        buffer.add(Batch.stack(rows), buffer_ids=np.arange(NUM))
        if recorded:
            buffer.add_offline(Batch.stack(rows[:1]))
    return buffer


def trained(buffer: Replay, **changes) -> tuple[DSRLSAC, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    algorithm = build(**changes)
    np.random.seed(1)
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(buffer, 8)
        algorithm.learn(buffer, 8, 3)
    return algorithm, {name: value.clone() for name, value in algorithm.policy.actor.state_dict().items()}


@pytest.mark.parametrize("replay", [{}, {"size": NUM * (LENGTH + 1)}, {"recorded": True}], ids=str)
@pytest.mark.parametrize(("offset", "at_end"), [(100.0, 0.0), (-30.0, 0.0), (0.0, 50.0), (10.0, -20.0)])
def test_what_every_policy_is_paid_leads_to_the_same_actor(
    offset: float, at_end: float, replay: dict[str, Any]
) -> None:
    """Also when all of an episode but its last decision is overwritten, and with offline data."""
    actor, shifted = trained(play(**replay))[1], trained(play(offset, at_end, **replay))[1]
    for name, value in actor.items():
        torch.testing.assert_close(shifted[name], value, rtol=1e-4, atol=1e-5)


def test_a_given_scale_and_episodes_that_terminate_leave_rewards_as_they_are() -> None:
    for algorithm in (trained(play(100.0), reward_scale=1.0)[0], trained(play(100.0, terminated=True))[0]):
        assert not algorithm.reward_scale.centre.values.any()


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3))
def test_nine_of_ten_centred_rewards_are_below_zero_whatever_the_offsets(
    offset: float, at_end: float, spread: float
) -> None:
    buffer, centre = play(offset, at_end, spread=spread), RewardCentre()
    centre.fit(buffer)
    rows = buffer.sample_indices(0)
    np.testing.assert_array_less(0.0, centre.rewards(buffer, rows).max())
    assert np.mean(centre.rewards(buffer, rows) > 1e-9 * spread) <= 0.2


def test_a_constant_alone_is_no_centre_since_nothing_would_be_left_to_scale() -> None:
    buffer, scale = play(-1.0, 0.5, spread=0.0), RewardScale("auto")
    scale.fit(buffer, 0.9)
    assert not scale.centre.values.any()
    assert float(scale.value) == pytest.approx(
        LARGEST / (sum(0.9**i for i in range(LENGTH)) - 0.5 * 0.9 ** (LENGTH - 1))
    )


def test_from_the_first_terminated_episode_on_rewards_count_as_they_are() -> None:
    scale, buffer = RewardScale("auto"), play(10.0)
    scale.fit(buffer, 0.9)
    centred = float(scale.value)
    assert scale.centre.values.all()
    buffer._meta.terminated[buffer.last_index[0]] = True
    scale.refit(buffer, 0.9)
    assert not scale.centre.values.any()
    assert float(scale.value) < centred / 3  # that of returns with the offset


def test_an_episode_that_a_reset_cut_is_paid_like_any_decision() -> None:
    buffer, centre = play(at_end=50.0), RewardCentre()
    centre.fit(buffer)
    row = Batch(
        obs=np.zeros(FEATURES, np.float32),
        obs_next=np.zeros(FEATURES, np.float32),
        act=np.zeros(DIM, np.float32),
        rew=0.0,
        terminated=False,
        truncated=False,
        done=False,
        info={},
    )
    buffer.add(Batch.stack([row]), buffer_ids=np.array([0]))
    buffer.cut_episodes()
    (centred,) = centre.rewards(buffer, buffer.last_index[:1])
    assert centred == -float(centre.values[0])


def test_a_checkpoint_keeps_the_centre_and_an_earlier_one_has_none() -> None:
    algorithm = trained(play(100.0))[0]
    state = algorithm.state_dict()
    continued = build()
    continued.load_state_dict(state)
    assert torch.equal(continued.reward_scale.centre.values, algorithm.reward_scale.centre.values)
    earlier = build()
    earlier.load_state_dict({name: value for name, value in state.items() if "centre" not in name})
    assert not earlier.reward_scale.centre.values.any()
