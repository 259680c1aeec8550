"""Evaluation on a toy whose results are known by hand: paired worlds, intervals, independence of the batch."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from math import comb

import pytest
import torch
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess

from dsrl.evaluation.episodes import Evaluation, evaluate
from dsrl.evaluation.noise_sources import (
    base_noise,
    best_of_noise,
    check_best_of,
    evaluation_noise,
    prior_noise,
    steered_noise,
)
from dsrl.evaluation.starts import agree, starts_of
from dsrl.evaluation.summary import by_instruction, comparison, metrics, paired, summary
from dsrl.interfaces import Encoding
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv


class Actor:
    """Steers towards the features, or by the draw."""

    stochastic = False

    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        return torch.tanh(features if normal is None else normal)


def _env(num_envs: int) -> NoiseActionEnv:
    return NoiseActionEnv(Guess(num_envs), Echo(), _noise(), horizon=2)


def _noise() -> RepeatNoise:
    return RepeatNoise((2, 1), 1.0, None)


def _zeros(num: int) -> Encoding:
    return Encoding(torch.zeros(num, 1), {})


def _always(sign: float):
    return lambda encoding, seeds, decision: torch.full((len(seeds), 2, 1), sign)


def test_a_constant_guess_succeeds_in_the_worlds_that_it_fits() -> None:
    result = evaluate(_env(4), _always(1.0), episodes=10, first_seed=0)
    assert result.seeds == tuple(range(10))
    assert result.successes == (False,) * 5 + (True,) * 5
    assert result.returns == (0.0,) * 5 + (1.0,) * 5
    assert result.lengths == (6,) * 5 + (1,) * 5
    numbers = summary(result)
    assert (numbers["successes"], numbers["episodes"], numbers["success_rate"]) == (5, 10, 0.5)
    assert (numbers["mean_return"], numbers["mean_length"]) == (0.5, 3.5)
    assert result.failures == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("make", ["base", "prior", "steered", "stochastic"])
def test_results_do_not_depend_on_how_worlds_are_batched(make: str) -> None:
    act = {
        "base": base_noise((2, 1)),
        "prior": prior_noise(_noise(), bound=1.0),
        "steered": steered_noise(Actor(), _noise(), stochastic=False),
        "stochastic": steered_noise(Actor(), _noise(), stochastic=True),
    }[make]
    one, some, all_at_once = (evaluate(_env(num), act, episodes=13, first_seed=0) for num in (1, 5, 13))
    assert one == some == all_at_once


def test_a_world_is_the_same_whatever_the_first_seed() -> None:
    whole = evaluate(_env(3), base_noise((2, 1)), episodes=9, first_seed=0)
    tail = evaluate(_env(2), base_noise((2, 1)), episodes=4, first_seed=5)
    assert whole.returns[5:] == tail.returns


def test_the_base_policys_noise_is_independent_standard_normal_in_every_slot() -> None:
    noise = base_noise((8, 4))(_zeros(500), range(500), 3)
    assert noise.shape == (500, 8, 4)
    assert abs(noise.mean().item()) < 0.02
    assert abs(noise.std().item() - 1) < 0.02
    assert not torch.equal(noise, base_noise((8, 4))(_zeros(500), range(500), 4))


def test_the_actors_prior_repeats_one_vector_within_its_box() -> None:
    noise = prior_noise(_noise(), bound=1.0)(_zeros(200), range(200), 0)
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert noise.abs().max() == 1.0


def test_a_stochastic_actor_draws_a_standard_normal_vector_for_each_world_and_decision() -> None:
    act = steered_noise(Actor(), _noise(), stochastic=True)
    noise = act(_zeros(500), range(500), 3)
    assert noise.shape == (500, 2, 1)
    assert abs(torch.atanh(noise).std().item() - 1) < 0.1
    assert not torch.equal(noise, act(_zeros(500), range(500), 4))


def test_steering_by_the_features_always_succeeds() -> None:
    result = evaluate(_env(4), steered_noise(Actor(), _noise(), stochastic=False), episodes=10, first_seed=0)
    assert result.score == 1.0


class SignCritic(Actor):
    """Values the noise that has the sign of the features: with it the toy succeeds."""

    def chunk_values(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        return torch.stack([vectors[:, 0] * encoding.features[:, 0], torch.full((len(vectors),), 100.0)])


def test_best_of_n_plays_the_draw_that_is_valued_most_whatever_the_batch() -> None:
    results = {}
    for num_envs in (1, 3, 10):
        for num in (1, 8):
            env = _env(num_envs)
            act = best_of_noise(SignCritic(), _noise(), num)
            results[num_envs, num] = evaluate(env, act, episodes=10, first_seed=0)
    assert results[1, 1] == results[3, 1] == results[10, 1]
    assert results[1, 8] == results[3, 8] == results[10, 8]
    one_step = [result.lengths.count(1) for result in (results[1, 1], results[1, 8])]
    assert one_step[0] < one_step[1] == 10  # all of 8 draws have the wrong sign once in 256 decisions


def test_evaluations_play_what_the_algorithm_declares_unless_another_choice_is_given() -> None:
    encoding, seeds = Encoding(torch.linspace(-1, 1, 6)[:, None], {}), range(6)
    drawing = Actor()
    drawing.stochastic = True
    noises = {stochastic: steered_noise(Actor(), _noise(), stochastic=stochastic) for stochastic in (False, True)}
    mean, drawn = (act(encoding, seeds, 2) for act in (noises[False], noises[True]))
    for algorithm, chosen, expected in (
        (Actor(), None, mean),
        (Actor(), True, drawn),
        (drawing, None, drawn),
        (drawing, False, mean),
    ):
        act = evaluation_noise(algorithm, _noise(), best_of=None, stochastic=chosen)
        assert torch.equal(act(encoding, seeds, 2), expected)
    best = evaluation_noise(SignCritic(), _noise(), best_of=4)
    assert torch.equal(best(encoding, seeds, 2), best_of_noise(SignCritic(), _noise(), 4)(encoding, seeds, 2))


def test_best_of_n_needs_an_algorithm_that_values_chunks() -> None:
    check_best_of(SignCritic(), 4)
    check_best_of(build_algorithm("dsrl_na", _env(1)), 4)
    check_best_of(Actor(), None)
    for algorithm in (Actor(), build_algorithm("dsrl_sac", _env(1))):
        with pytest.raises(
            ValueError, match=r"best_of=4 needs values of chunks .* type best_of=null, or train with sac=dsrl_na"
        ):
            evaluation_noise(algorithm, _noise(), best_of=4)


def test_pairing_counts_the_worlds_that_were_gained_and_lost() -> None:
    before = _worlds(True, True, False, False, False, False)
    after = _worlds(True, False, True, True, True, False)
    assert paired(before, after) == {"both": 1, "only_steered": 3, "only_base": 1, "neither": 1, "p_value": 0.625}


def test_pairing_refuses_different_worlds() -> None:
    with pytest.raises(ValueError, match="different worlds"):
        paired(_worlds(True), Evaluation((7,), (True,), (0.0,), (1,)))


def test_worlds_that_seeds_do_not_repeat_are_compared_without_pairs() -> None:
    before = replace(_worlds(*[False] * 8), starts=tuple(range(1, 9)))
    after = replace(_worlds(*[True] * 8), starts=tuple(range(2, 10)))
    expected = {"test": "Fisher's exact test", "p_value": pytest.approx(2 / comb(16, 8))}
    assert comparison(before, after) == {"paired": None, "unpaired": expected}
    apart = comparison(replace(before, successes=None, returns=(0.0, 2.0) * 4), replace(after, successes=None))
    assert apart["unpaired"]["p_value"] == pytest.approx(0.0331, abs=1e-4)  # t = √7 with 7 degrees of freedom
    for same in (before.starts, ()):  # () of a task without a state, and of earlier versions
        whole = replace(after, starts=same)
        assert comparison(before, whole) == {"paired": paired(before, whole)}
    assert comparison(None, after) == {"paired": None}


def test_starts_differ_by_sign_and_place_of_numbers_and_not_by_their_last_digits() -> None:
    states = torch.tensor([[0.25, -3.0, 7.0], [-0.25, -3.0, 7.0], [-3.0, 0.25, 7.0], [float("nan"), -3.0, 7.0]])
    starts = starts_of(states)
    assert not any(agree([one], [other]) for one, other in combinations(starts, 2))
    assert agree(starts, starts_of(states * (1 + 1e-6)))
    assert agree([0.0], [1e-8])
    assert agree(starts_of(torch.zeros(1, 20)), starts_of(torch.full((1, 20), 1e-7)))
    assert starts_of(states[:, None]) == starts  # a history of one
    assert starts_of(states[:, :0]) == ()


@pytest.mark.parametrize("beside", [0.0, 5000.0, 1.8e9], ids=["nothing", "ticks", "a clock"])
def test_starts_differ_by_objects_placed_anew_beside_a_large_number_and_not_by_rounding_or_a_clock(
    beside: float,
) -> None:
    drawn = torch.Generator().manual_seed(0)
    objects = torch.rand(4, 3, generator=drawn, dtype=torch.float64) * 0.2 - 0.1
    rest = torch.cat((torch.zeros(4, 20), torch.full((4, 1), beside)), 1).double()
    starts = starts_of(torch.cat((objects, rest), 1))
    for placed in (objects.flip(0), objects + 0.001):
        anew = starts_of(torch.cat((placed, rest), 1))
        assert not any(agree([one], [other]) for one, other in zip(starts, anew, strict=True))
    later = rest * (1 + 1e-6) + 1e-7
    assert agree(starts, starts_of(torch.cat((objects * (1 + 1e-6), later), 1)))


def test_without_a_success_criterion_its_numbers_are_null() -> None:
    result = Evaluation((0, 1), None, (-3.0, -5.0), (10, 20))
    assert result.score == -4.0
    assert result.failures == ()
    assert summary(result) == {
        "successes": None,
        "episodes": 2,
        "success_rate": None,
        "ci95": None,
        "mean_return": -4.0,
        "mean_length": 15.0,
    }
    assert metrics(result) == {"eval/episodes": 2.0, "eval/mean_return": -4.0, "eval/mean_length": 15.0}
    assert paired(result, result) is None


def test_an_evaluation_is_restored_from_its_dict_also_through_json() -> None:
    for result in (
        Evaluation((3, 4), (True, False), (1.0, 0.0), (2, 6), ("pick red", "pick blue")),
        Evaluation((0, 1), None, (-3.0, -5.0), (10, 20)),
        Evaluation((0, 1), None, (-3.0, -5.0), (10, 20), (), (0.5, 1.25)),
    ):
        assert Evaluation.from_dict(result.to_dict()) == result
        assert Evaluation.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_worlds_are_summarised_by_instruction() -> None:
    result = Evaluation((0, 1, 2), (True, False, False), (1.0, 0.0, 0.5), (1, 2, 4), ("b", "a", "b"), (3.0, 4.0, 5.0))
    parts = by_instruction(result)
    assert list(parts) == ["a", "b"]
    assert (parts["a"]["successes"], parts["a"]["episodes"]) == (0, 1)
    assert (parts["b"]["success_rate"], parts["b"]["mean_return"], parts["b"]["mean_length"]) == (0.5, 0.75, 2.5)
    assert (result.only("b").seeds, result.only("b").starts) == ((0, 2), (3.0, 5.0))


def _worlds(*successes: bool) -> Evaluation:
    num = len(successes)
    return Evaluation(tuple(range(num)), successes, (0.0,) * num, (1,) * num)
