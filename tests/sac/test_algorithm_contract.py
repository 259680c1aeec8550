"""The contract of every algorithm: each YAML of conf/sac joins by itself once toys.options has options for it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.data import ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from toys.algorithms import build_algorithm
from toys.commands import CONF
from toys.countdown import CountdownTask, EchoPolicy
from toys.options import OPTIONS
from toys.replay import played

from dsrl.interfaces import Searcher
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.metrics import checked_means
from dsrl.training.replay_memory import replay_bytes

NAMES = sorted(path.stem for path in (CONF / "sac").glob("[!_]*.yaml"))
LEARNERS = [name for name in NAMES if name != "golden_ticket"]
MAGNITUDE, WORLDS, UPDATES, BATCH = 1.5, 5, 3, 8
FEATURES = torch.randn(WORLDS, 2, generator=torch.Generator().manual_seed(0))
NORMAL = torch.randn(WORLDS, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def env() -> NoiseActionEnv:
    policy = EchoPolicy()
    return NoiseActionEnv(CountdownTask(3), policy, FullNoise(policy.noise_shape, MAGNITUDE, None), horizon=3)


def make(name: str, env: NoiseActionEnv, seed: int = 0) -> Any:
    changes = {"critic_warmup_updates": 2} if "critic_warmup_updates" in OPTIONS[name] else {}
    return build_algorithm(name, env, seed=seed, **changes)


def noise_of(algorithm: Any, features: torch.Tensor = FEATURES, normal: torch.Tensor | None = None) -> torch.Tensor:
    """Return the noise [n, dim] that an algorithm chooses."""
    noise = algorithm.act(features, normal)
    assert isinstance(noise, torch.Tensor)
    return noise


def learned(algorithm: Any, buffer: ReplayBuffer, *, seed: int) -> dict[str, float]:
    """Learn as after one round of play, with the random numbers that `seed` gives, and return the mean statistics."""
    torch.manual_seed(seed)
    with policy_within_training_step(algorithm.policy):
        return checked_means(algorithm.learn(buffer, BATCH, UPDATES), UPDATES)


def assert_equal(one: Any, other: Any, where: str = "state") -> None:
    """Compare two state_dicts to the last bit, optimisers included."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_equal(value, other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, values in enumerate(zip(one, other, strict=True)):
            assert_equal(*values, f"{where}.{i}")
    else:
        assert one == other, where


def test_every_yaml_has_options_for_tests() -> None:
    assert sorted(OPTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_its_kind_its_replay_its_bound_and_its_draws(name: str, env: NoiseActionEnv) -> None:
    algorithm = make(name, env)
    assert replay_bytes(env, algorithm.replay, 100) > 0
    assert isinstance(algorithm, Searcher) == (name not in LEARNERS)
    assert isinstance(algorithm.bounded, bool)
    assert isinstance(bool(algorithm.stochastic), bool)


@pytest.mark.parametrize("name", NAMES)
def test_it_chooses_one_finite_noise_vector_for_each_world_whatever_the_batch(name: str, env: NoiseActionEnv) -> None:
    algorithm = make(name, env)
    for normal in (None, NORMAL):
        noise = noise_of(algorithm, normal=normal)
        assert noise.shape == (WORLDS, env.noise.dim)
        assert noise.dtype == torch.float32
        assert not noise.requires_grad
        assert torch.isfinite(noise).all()
        part = noise_of(algorithm, FEATURES[:2], None if normal is None else normal[:2])
        torch.testing.assert_close(part, noise[:2])


@pytest.mark.parametrize("name", NAMES)
def test_its_noise_is_a_function_of_features_and_normal_and_leaves_the_random_state_alone(
    name: str, env: NoiseActionEnv
) -> None:
    algorithm = make(name, env)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for normal in (None, NORMAL):
        assert torch.equal(noise_of(algorithm, normal=normal), noise_of(algorithm, normal=normal))
    assert torch.equal(torch.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    drawn, other = noise_of(algorithm, normal=NORMAL), noise_of(algorithm, normal=-NORMAL)
    assert torch.equal(drawn, other) == (name not in LEARNERS)  # the golden ticket has nothing to draw


@pytest.mark.parametrize("name", NAMES)
def test_bounded_noise_stays_within_the_magnitude_and_other_noise_may_leave_it(name: str, env: NoiseActionEnv) -> None:
    algorithm = make(name, env)
    largest = noise_of(algorithm, normal=100 * NORMAL).abs().max()
    if algorithm.bounded:
        assert largest <= MAGNITUDE
    elif name in LEARNERS:
        assert largest > MAGNITUDE


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_its_untrained_state(name: str, env: NoiseActionEnv) -> None:
    one, same, other = (make(name, env, seed).state_dict() for seed in (0, 0, 1))
    assert_equal(one, same)
    with pytest.raises(AssertionError):
        assert_equal(one, other)


@pytest.mark.parametrize("name", LEARNERS)
def test_warming_up_and_learning_return_finite_statistics_and_learning_changes_the_noise(
    name: str, env: NoiseActionEnv
) -> None:
    algorithm, buffer = make(name, env), played(env)
    torch.manual_seed(1)
    assert checked_means(algorithm.warm_up(buffer, BATCH), 0)
    warmed_up = noise_of(algorithm, normal=NORMAL)
    statistics = learned(algorithm, buffer, seed=2)
    assert {"learn/critic_loss", "learn/actor_loss"} <= statistics.keys()
    assert np.isfinite(list(statistics.values())).all()
    assert not torch.equal(noise_of(algorithm, normal=NORMAL), warmed_up)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_restored_learner_acts_and_learns_on_like_the_saved_one_to_the_last_bit(
    name: str, env: NoiseActionEnv
) -> None:
    first, buffer = make(name, env), played(env)
    first.warm_up(buffer, BATCH)
    learned(first, buffer, seed=1)
    saved = deepcopy(first.state_dict())
    second = make(name, env, seed=1)
    second.load_state_dict(saved)
    for normal in (None, NORMAL):
        assert torch.equal(noise_of(first, normal=normal), noise_of(second, normal=normal))
    assert first.stochastic == second.stochastic

    twin = deepcopy(buffer)  # sampling advances a buffer's own random generators
    assert learned(first, buffer, seed=2) == learned(second, twin, seed=2)
    assert torch.equal(noise_of(first), noise_of(second))
    assert_equal(first.state_dict(), second.state_dict())


@pytest.mark.parametrize("name", LEARNERS)
def test_a_loaded_state_shares_no_memory_with_the_learner(name: str, env: NoiseActionEnv) -> None:
    algorithm, buffer = make(name, env), played(env)
    algorithm.warm_up(buffer, BATCH)
    saved = deepcopy(algorithm.state_dict())
    untouched = deepcopy(saved)
    algorithm.load_state_dict(saved)
    learned(algorithm, buffer, seed=1)
    assert_equal(saved, untouched)


def test_a_restored_search_plays_the_ticket_of_the_saved_one(env: NoiseActionEnv) -> None:
    first, second = make("golden_ticket", env), make("golden_ticket", env, seed=1)
    first.choose(2)
    assert torch.equal(noise_of(first), first.candidates[2].repeat(WORLDS, 1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(noise_of(first), noise_of(second))
    assert_equal(first.state_dict(), second.state_dict())
