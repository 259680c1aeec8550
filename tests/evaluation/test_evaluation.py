"""Evaluation on a toy whose results are known by hand: paired worlds, intervals, independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys.guess import Echo, Guess

from dsrl.evaluation.episodes import (
    Evaluation,
    base_noise,
    best_of_noise,
    evaluate,
    paired,
    prior_noise,
    steered_noise,
    wilson,
)
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv


class Actor:
    """Steers towards the features, or by the draw."""

    def act(self, features: np.ndarray, normal: np.ndarray | None = None) -> np.ndarray:
        return np.tanh(features) if normal is None else np.tanh(normal)


def _env(num_envs: int) -> NoiseActionEnv:
    return NoiseActionEnv(Guess(num_envs), Echo(), _noise(), horizon=2)


def _noise() -> RepeatNoise:
    return RepeatNoise((2, 1), 1.0, None)


def _always(sign: float):
    return lambda features, seeds, decision: torch.full((len(seeds), 2, 1), sign)


def test_a_constant_guess_succeeds_in_the_worlds_that_it_fits() -> None:
    result = evaluate(_env(4), _always(1.0), episodes=10, first_seed=0)
    assert result.seeds == tuple(range(10))
    assert result.successes == (False,) * 5 + (True,) * 5
    assert result.returns == (0.0,) * 5 + (1.0,) * 5
    assert result.lengths == (6,) * 5 + (1,) * 5
    figures = result.summary()
    assert (figures["successes"], figures["episodes"], figures["success_rate"]) == (5, 10, 0.5)
    assert (figures["mean_return"], figures["mean_length"]) == (0.5, 3.5)


@pytest.mark.parametrize("make", ["base", "prior", "steered", "stochastic"])
def test_results_do_not_depend_on_how_worlds_are_batched(make: str) -> None:
    act = {
        "base": base_noise((2, 1)),
        "prior": prior_noise(_noise()),
        "steered": steered_noise(Actor(), _noise(), stochastic=False),
        "stochastic": steered_noise(Actor(), _noise(), stochastic=True),
    }[make]
    one, some, all_at_once = (evaluate(_env(num), act, episodes=13, first_seed=0) for num in (1, 5, 13))
    assert one == some == all_at_once


def test_a_world_is_the_same_whatever_the_first_seed() -> None:
    whole = evaluate(_env(3), base_noise((2, 1)), episodes=9, first_seed=0)
    tail = evaluate(_env(2), base_noise((2, 1)), episodes=4, first_seed=5)
    assert whole.returns[5:] == tail.returns


def test_the_base_policy_is_independent_standard_normal_in_every_slot() -> None:
    noise = base_noise((8, 4))(np.zeros((500, 1), np.float32), range(500), 3)
    assert noise.shape == (500, 8, 4)
    assert abs(noise.mean().item()) < 0.02
    assert abs(noise.std().item() - 1) < 0.02
    assert not torch.equal(noise, base_noise((8, 4))(np.zeros((500, 1), np.float32), range(500), 4))


def test_the_actors_prior_repeats_one_vector_within_its_box() -> None:
    noise = prior_noise(_noise())(np.zeros((200, 1), np.float32), range(200), 0)
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert noise.abs().max() == 1.0


def test_a_stochastic_actor_draws_a_standard_normal_vector_for_each_world_and_decision() -> None:
    act = steered_noise(Actor(), _noise(), stochastic=True)
    noise = act(np.zeros((500, 1), np.float32), range(500), 3)
    assert noise.shape == (500, 2, 1)
    assert abs(torch.atanh(noise).std().item() - 1) < 0.1
    assert not torch.equal(noise, act(np.zeros((500, 1), np.float32), range(500), 4))


def test_steering_by_the_features_always_succeeds() -> None:
    result = evaluate(_env(4), steered_noise(Actor(), _noise(), stochastic=False), episodes=10, first_seed=0)
    assert result.score == 1.0


class Judge:
    """Values the noise that has the sign of the features: with it the toy succeeds."""

    def chunk_values(self, features, context, vectors):
        return torch.stack([vectors[:, 0] * features[:, 0], torch.full((len(vectors),), 100.0)])


def test_best_of_n_plays_the_draw_that_is_valued_most_whatever_the_batch() -> None:
    results = {}
    for num_envs in (1, 3, 10):
        for num in (1, 8):
            env = _env(num_envs)
            act = best_of_noise(env, Judge(), _noise(), num)
            results[num_envs, num] = evaluate(env, act, episodes=10, first_seed=0)
    assert results[1, 1] == results[3, 1] == results[10, 1]
    assert results[1, 8] == results[3, 8] == results[10, 8]
    one_step = [result.lengths.count(1) for result in (results[1, 1], results[1, 8])]
    assert one_step[0] < one_step[1] == 10  # all of 8 draws have the wrong sign once in 256 decisions


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.95996
        (0, 10, 0.0, 0.2775),  # z² / (n + z²)
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_the_wilson_interval_is_that_of_the_formula(successes: int, episodes: int, low: float, high: float) -> None:
    assert wilson(successes, episodes) == pytest.approx((low, high), abs=1e-4)


def test_pairing_counts_the_worlds_that_were_gained_and_lost() -> None:
    before = _known(True, True, False, False, False, False)
    after = _known(True, False, True, True, True, False)
    assert paired(before, after) == {"both": 1, "only_steered": 3, "only_base": 1, "neither": 1, "p_value": 0.625}


def test_pairing_refuses_different_worlds() -> None:
    with pytest.raises(ValueError, match="different worlds"):
        paired(_known(True), Evaluation((7,), (True,), (0.0,), (1,)))


def test_without_a_notion_of_success_its_figures_are_null() -> None:
    result = Evaluation((0, 1), None, (-3.0, -5.0), (10, 20))
    assert result.score == -4.0
    assert result.summary() == {
        "successes": None,
        "episodes": 2,
        "success_rate": None,
        "ci95": None,
        "mean_return": -4.0,
        "mean_length": 15.0,
    }


def _known(*successes: bool) -> Evaluation:
    num = len(successes)
    return Evaluation(tuple(range(num)), successes, (0.0,) * num, (1,) * num)
