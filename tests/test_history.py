"""Histories of observations on the countdown task, whose every state says which control step it is of."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from toys.countdown import CountdownTask, EchoPolicy, RestorableCountdown

from dsrl.interfaces import Encoding, Observation
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.replay_format import blank_observation, observation_from, observation_tensors


class HistoryPolicy(EchoPolicy):
    """Features are the control steps that the history is of; the chunk is the noise plus the latest of them."""

    def __init__(self, num_observations: int) -> None:
        self.num_observations = self.feature_dim = num_observations

    def encode(self, observation: Observation) -> Encoding:
        steps = observation.state[..., 1]
        return Encoding(steps, {"taken": steps[:, -1]})


def make_env(length: int, horizon: int, task: CountdownTask | None = None) -> NoiseActionEnv:
    policy = HistoryPolicy(length)
    return NoiseActionEnv(task or CountdownTask(3, max_steps=9), policy, FullNoise((4, 2), 1.5, None), horizon)


def play(env: NoiseActionEnv, worlds: list[int]) -> list[list[float]]:
    env.step(np.ones((len(worlds), 8), np.float32), worlds)
    return env.encoding.features.tolist()


@pytest.mark.parametrize(
    ("length", "horizon", "expected"),
    [
        (2, 4, [[0, 0], [3, 4], [7, 8]]),
        (3, 4, [[0, 0, 0], [2, 3, 4], [6, 7, 8]]),
        (4, 2, [[0, 0, 0, 0], [0, 0, 1, 2], [1, 2, 3, 4]]),
        (3, 1, [[0, 0, 0], [0, 0, 1], [0, 1, 2]]),
    ],
)
def test_a_history_is_of_consecutive_control_steps_and_starts_with_copies(
    length: int, horizon: int, expected: list[list[float]]
) -> None:
    env = make_env(length, horizon)
    env.reset(seeds=[0, 0, 0])
    assert env.encoding.features[1].tolist() == expected[0]
    for steps in expected[1:]:
        assert play(env, [0, 1, 2])[1] == steps
    assert env.observed.state.shape == (3, length, 2)


def test_only_as_many_observations_are_made_as_the_history_needs() -> None:
    env = make_env(2, 4)
    env.reset(seeds=[0, 0, 0])
    before = env.task.num_observed
    play(env, [0, 1, 2])
    assert env.task.num_observed == before + 2


def test_resetting_one_world_starts_its_history_and_leaves_the_others_alone() -> None:
    env = make_env(3, 4)
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    env.reset([1], seeds=[0])
    assert env.encoding.features.tolist() == [[2, 3, 4], [0, 0, 0], [2, 3, 4]]
    assert play(env, [1]) == [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    assert env.task.taken.tolist() == [4, 4, 4]


def test_a_truncated_world_has_the_history_of_its_own_end() -> None:
    env = make_env(3, 4, CountdownTask(3, max_steps=8))
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    assert play(env, [0, 1, 2])[0] == [6, 7, 8]
    assert env.ended.all()


@pytest.mark.parametrize(
    ("length", "max_steps", "expected"),
    [(2, 6, [5, 6]), (2, 7, [6, 7]), (2, 5, [4, 5]), (3, 6, [4, 5, 6]), (3, 7, [5, 6, 7]), (3, 5, [3, 4, 5])],
)
def test_a_world_that_is_truncated_in_mid_chunk_has_a_history_without_a_gap(
    length: int, max_steps: int, expected: list[float]
) -> None:
    env = make_env(length, 4, CountdownTask(3, max_steps=max_steps))
    for _ in range(2):  # a new episode has all its steps before it
        env.reset(seeds=[0, 0, 0])
        play(env, [0, 1, 2])
        assert play(env, [0, 1, 2])[0] == expected
        assert env.ended.all()


def test_worlds_at_different_steps_each_have_the_history_of_their_own_end() -> None:
    env = make_env(2, 4, CountdownTask(3, max_steps=6))
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    env.reset([1], seeds=[0])
    assert play(env, [0, 1, 2]) == [[5, 6], [3, 4], [5, 6]]
    assert env.ended.tolist() == [True, False, True]


def test_a_truncation_in_mid_chunk_has_its_whole_history_in_an_environment_that_was_restored() -> None:
    env, other = (make_env(2, 4, RestorableCountdown(3, max_steps=6)) for _ in range(2))
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    state = deepcopy(env.state_dict())
    assert other.load_state_dict(state)
    assert play(other, [0, 1, 2]) == [[5, 6]] * 3
    del state["worlds"]["left"]  # a checkpoint of an earlier run, which goes on as that run would have
    assert other.load_state_dict(state)
    assert play(other, [0, 1, 2]) == [[4, 6]] * 3


def test_the_decision_has_the_histories_before_and_after() -> None:
    env = make_env(2, 4)
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    assert env.decision.observed_before.state[0, :, 1].tolist() == [0, 0]
    assert env.decision.observed_after.state[0, :, 1].tolist() == [3, 4]


def test_histories_in_mid_episode_continue_to_the_last_bit_in_another_environment() -> None:
    env, other = (make_env(3, 2, RestorableCountdown(3, max_steps=9)) for _ in range(2))
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    assert other.load_state_dict(deepcopy(env.state_dict()))
    assert torch.equal(other.observed.state, env.observed.state)
    assert play(other, [0, 1, 2]) == play(env, [0, 1, 2]) == [[2, 3, 4]] * 3


def test_replay_stores_a_history_and_encodes_it_again() -> None:
    env = make_env(3, 4)
    env.reset(seeds=[0, 0, 0])
    play(env, [0, 1, 2])
    restored = observation_from(observation_tensors(env.observed))
    assert torch.equal(restored.state, env.observed.state)
    assert torch.equal(env.reencode(restored, torch.zeros(3, 8)), torch.full((3, 4, 2), 4.0))
    assert blank_observation(env).state.shape == (1, 3, 2)
