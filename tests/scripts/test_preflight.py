"""Preflight on toys whose success under every noise, and so the verdict, can be computed by hand.

`Guess` ends at the first action whose sign is that of its state, within one chunk of two actions.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from toys.guess import Echo, Guess
from toys.runs import toy_parts

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_choice import smooth_ranks
from dsrl.evaluation.noise_sources import base_noise, prior_noise
from dsrl.evaluation.outcomes import Outcomes, p_value
from dsrl.evaluation.statistics import wilson_of_mean
from dsrl.interfaces import Encoding, Noise
from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise
from dsrl.noise_action_env import NoiseActionEnv
from scripts.preflight import __main__ as preflight
from scripts.preflight import report
from scripts.preflight.__main__ import main
from scripts.preflight.measure import Movement, Preflight, chunk_movement, measure, noises
from scripts.preflight.verdict import judge

WORLDS = 100
Decode = Callable[[Tensor, Tensor], Tensor]  # (state [B, 1, 1], noise [B, 2, 1]) -> chunk [B, 2, 1]


class Through(Echo):
    """A policy given by a formula."""

    def __init__(self, formula: Decode) -> None:
        self.formula = formula

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return self.formula(encoding.features[:, None], noise) + torch.zeros_like(noise)


class Ends(Echo):
    """A policy of two actions, given by the first and the last of eight slots of noise."""

    noise_shape = (8, 1)

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return noise[:, [0, 7]].clone()


def _env(formula: Decode, kind: type = RepeatNoise, magnitude: float = 1.5, num_envs: int = 8) -> NoiseActionEnv:
    return NoiseActionEnv(Guess(num_envs, max_steps=2), Through(formula), kind((2, 1), magnitude, None), 2)


def _preflight(formula: Decode, kind: type = RepeatNoise, magnitude: float = 1.5) -> Preflight:
    env = _env(formula, kind, magnitude)
    compared = noises(env.noise, (2, 1), 2)
    return measure(
        env, compared, worlds=WORLDS, first_seed=0, draws=8, other_draws=2, on_row=lambda name, outcomes: None
    )


def _first(state: Tensor, noise: Tensor) -> Tensor:
    return noise[:, :1]


def _beyond(state: Tensor, noise: Tensor) -> Tensor:
    return torch.where(noise.abs() > 0.6, state, 0.0)[:, :1]


TOYS: list[tuple[str, Decode, type, float, str]] = [
    # 1/2 under any noise; the best draw solves all
    (
        "lift",
        _first,
        RepeatNoise,
        1.5,
        r"^steering can lift this policy from (4|5)\d% towards (99|100)%; w = 0 only gives 0%$",
    ),
    # two independent guesses solve 3/4, the same guess twice 1/2
    (
        "broken",
        lambda state, noise: noise,
        RepeatNoise,
        1.5,
        r"^repeated noise breaks .*: use noise=full \(7\d%\); the",
    ),
    ("lift", lambda state, noise: noise, FullNoise, 1.5, r"from (7|8)\d% towards 100%; w = 0 only gives 0%$"),
    # only noise beyond 0.6 acts: 55 %, nothing within ±0.5
    ("broken", _beyond, RepeatNoise, 0.5, r"^clipping noise at ±0.5 breaks .* \(0% against \d\d%\): raise noise.magni"),
    ("broken", _beyond, FullNoise, 0.5, r"^clipping noise at ±0.5 breaks this checkpoint"),
    # the sign never depends on noise
    (
        "powerless",
        lambda state, noise: noise.abs() + 0.1,
        RepeatNoise,
        1.5,
        r"any world \(50% solved .*\): steering",
    ),
    ("powerless", lambda state, noise: torch.ones(1), RepeatNoise, 1.5, r", nor the chunks \(does the sampler"),
    ("unsolved", lambda state, noise: torch.zeros(1), RepeatNoise, 1.5, r"^no draw of noise solved any of 100 worlds"),
    (
        "solved",
        lambda state, noise: state + 0.1 * noise,
        RepeatNoise,
        1.5,
        r"^the base policy already succeeds in 1",
    ),
]


@pytest.mark.parametrize(("rule", "formula", "kind", "magnitude", "words"), TOYS, ids=[toy[0] for toy in TOYS])
def test_the_verdict_on_a_toy_is_the_known_one(
    rule: str, formula: Decode, kind: type, magnitude: float, words: str
) -> None:
    verdict = judge(_preflight(formula, kind, magnitude))
    assert verdict.rule == rule
    assert re.search(words, verdict.sentence), verdict.sentence


def test_the_success_of_every_noise_is_that_computed_by_hand() -> None:
    found = _preflight(lambda state, noise: noise)
    rates = {name: outcomes.score for name, outcomes in found.outcomes.items()}
    assert list(rates) == ["full", "repeat", "full ±1.5", "repeat ±1.5", "w = 0"]
    expected = {"full": 0.75, "repeat": 0.5, "full ±1.5": 0.75, "repeat ±1.5": 0.5, "w = 0": 0.0}
    assert rates == pytest.approx(expected, abs=0.1)
    actor = found.outcomes[found.actor]
    assert actor.scores.shape == (WORLDS, 8)
    assert [actor.best_of(k) for k in (1, 2, 4)] == pytest.approx([0.5, 0.75, 0.9375], abs=0.06)


@pytest.mark.parametrize("requested", [None, 0.5])
def test_a_task_without_success_compares_returns_or_counts_those_above_the_threshold(requested: float | None) -> None:
    """A success pays 1."""
    env, known = _env(lambda state, noise: noise, num_envs=25), _preflight(lambda state, noise: noise)
    env.has_success = False
    compared = noises(env.noise, (2, 1), 2)
    quiet = {"worlds": WORLDS, "first_seed": 0, "draws": 8, "other_draws": 2, "on_row": lambda name, outcomes: None}
    found = measure(env, compared, threshold=requested, **quiet)
    assert found.threshold == requested
    for name, outcomes in known.outcomes.items():
        np.testing.assert_array_equal(found.outcomes[name].scores, outcomes.scores)
        assert found.outcomes[name].is_success == (requested is not None)


def test_draw_0_is_the_noise_of_the_base_evaluations_and_later_draws_differ() -> None:
    found, env = _preflight(lambda state, noise: noise), _env(lambda state, noise: noise)
    for name, act in (("full", base_noise((2, 1))), (found.actor, prior_noise(env.noise, env.noise.magnitude))):
        assert tuple(found.outcomes[name].scores[:, 0]) == evaluate(env, act, episodes=WORLDS, first_seed=0).successes
    encoding = Encoding(torch.zeros(2, 1), {})
    draws = [base_noise((2, 1), draw)(encoding, [3, 4], 1) for draw in (0, 1, 2)]
    assert torch.equal(draws[0], base_noise((2, 1))(encoding, [3, 4], 1))
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


def test_pass_at_k_is_the_mean_over_all_choices_of_k_draws() -> None:
    successes = np.random.default_rng(0).random((12, 6)) < np.linspace(0, 1, 12)[:, None]
    outcomes = Outcomes(successes)
    for k in range(1, 7):
        chosen = [successes[:, list(subset)].any(1).mean() for subset in combinations(range(6), k)]
        assert outcomes.best_of(k) == pytest.approx(np.mean(chosen))
    assert outcomes.best_of(1) == pytest.approx(outcomes.score)
    with pytest.raises(ValueError, match="pass@7 needs at least 7 draws, not 6; choose k from 1 to 6"):
        outcomes.best_of(7)


def test_the_paired_test_agrees_with_exact_counts() -> None:
    one, other = Outcomes(np.eye(5, dtype=bool)[:, :1]), Outcomes(np.zeros((5, 1), dtype=bool))
    assert p_value(one, one) == 1.0
    assert p_value(one, other) == 1.0  # one world differs: either sign is as far
    one = Outcomes(np.ones((5, 1), dtype=bool))
    assert p_value(one, other) == pytest.approx(2 / 2**5, abs=0.01)


@pytest.mark.parametrize(
    ("noise", "rates", "words"),
    [
        (
            RepeatNoise((8, 1), 1.5, None),
            {"repeat": 0.5, "smooth 2": 0.8, "full": 0.75},
            r"use noise=smooth noise.rank=2 ",
        ),
        (SmoothNoise((8, 1), 1.5, None, 1, "zero"), {"smooth 1": 0.5}, r"^noise=smooth noise.rank=1 breaks .*rank=2 "),
    ],
    ids=["repeat", "smooth"],
)
def test_the_remedy_is_the_smallest_noise_that_has_the_success_of_the_base(
    noise: Noise, rates: dict[str, float], words: str
) -> None:
    """The first and last slot are equal under `repeat`, and their correlation is -0.32 under two smooth functions."""
    env = NoiseActionEnv(Guess(25, max_steps=2), Ends(), noise, 2)
    compared = noises(noise, (8, 1), 8)
    quiet = {"worlds": WORLDS, "first_seed": 0, "draws": 8, "other_draws": 4, "on_row": lambda name, outcomes: None}
    found = measure(env, compared, **quiet)
    assert {name: found.outcomes[f"{name} ±1.5"].score for name in rates} == pytest.approx(rates, abs=0.07)
    verdict = judge(found)
    assert verdict.rule == "broken"
    assert re.search(words, verdict.sentence), verdict.sentence


def test_smooth_ranks_are_the_powers_of_two_between_repeat_and_full() -> None:
    assert [smooth_ranks(slots) for slots in (1, 2, 3, 8, 50)] == [[], [], [2], [2, 4], [2, 4, 8, 16, 32]]
    chosen = SmoothNoise((8, 3), 1.5, None, 3, "zero")
    found = noises(chosen, (8, 3), 8)
    assert {name: noise.dim for name, noise in found.items()} == {
        "full": 24, "repeat": 3, "smooth 2": 6, "smooth 4": 12, "smooth 3": 9
    }  # fmt: skip
    assert found["smooth 3"] is chosen


def test_noise_per_step_is_measured_where_fewer_steps_are_executed_than_the_noise_has_slots() -> None:
    chosen = FullNoise((8, 3), 1.5, None)
    assert "per_step" not in noises(chosen, (8, 3), 8)
    assert noises(chosen, (8, 3), 5)["per_step"].dim == 15
    assert noises(chosen, (8, 3), 5, first_slot=1)["per_step"].slots == range(1, 6)


def _broken(noise: str, clipped: dict[str, int], *, restricted: bool) -> str:
    """Return the verdict on 100 worlds: 80 solved by the base policy, 20 by repeated noise, so many when clipped."""
    solved = {"full": 80, "repeat": 20, "w = 0": 80} | {f"{name} ±1.5": count for name, count in clipped.items()}
    outcomes = {name: Outcomes(np.arange(100)[:, None] < count) for name, count in solved.items()}
    dims = {"full": 8, "repeat": 1, "smooth 2": 2, "smooth 4": 4} | ({"per_step": 5} if "per_step" in clipped else {})
    return judge(Preflight(0, noise, 1.5, outcomes, Movement((1.0,), (1.0,)), dims, restricted)).sentence


@pytest.mark.parametrize(
    ("others", "restricted", "remedy"),
    [
        ({"smooth 2": 75, "smooth 4": 80, "full": 80}, False, "noise=smooth noise.rank=2 (75%)"),
        ({"smooth 2": 65, "smooth 4": 80, "full": 80}, False, "noise=smooth noise.rank=4 (80%)"),
        ({"smooth 2": 30, "smooth 4": 30, "full": 80}, False, "noise=full (80%)"),
        ({"smooth 2": 30, "smooth 4": 30, "per_step": 80, "full": 80}, False, "noise=per_step (80%)"),
        ({"smooth 2": 30, "smooth 4": 30, "full": 30}, False, "noise=full with a larger noise.magnitude"),
        ({"smooth 2": 30, "smooth 4": 80, "full": 80}, True, "noise=smooth noise.rank=4 noise.action_dims=null (80%)"),
    ],
)
def test_the_remedy_of_a_broken_parametrisation_is_as_it_is_typed(
    others: dict[str, int], restricted: bool, remedy: str
) -> None:
    sentence = _broken("repeat", {"repeat": 20, **others}, restricted=restricted)
    assert (
        sentence
        == f"repeated noise breaks this checkpoint (20% against 80%): use {remedy}; the best of 1 draws solves 20%"
    )


def test_full_noise_in_a_part_of_the_dimensions_is_mended_by_steering_all() -> None:
    clipped = {"full": 20, "repeat": 20, "smooth 2": 20, "smooth 4": 20}
    expected = "steering a part of the dimensions breaks this checkpoint (20% against 80%): use noise.action_dims=null"
    assert _broken("full", clipped, restricted=True).startswith(expected)


def test_the_verdict_gives_the_success_of_w_0_where_it_is_better_or_worse() -> None:
    better = judge(_preflight(lambda state, noise: state * (1 - noise[:, :1].square())))
    assert better.rule == "lift"
    assert "towards 100%; w = 0 alone gives 100%, where an actor starts: " in better.sentence
    assert judge(_handmade(still=49)).sentence.endswith(LITTLE)
    assert judge(_handmade(still=10)).sentence.endswith(f"{LITTLE}; w = 0 only gives 10%")


def _handmade(still: int, moves: float = 1.0, mixed: int = 2) -> Preflight:
    """100 worlds: 50 always solved, `mixed` solved by one draw of eight, `still` solved by w = 0."""
    rows = np.zeros((100, 8), dtype=bool)
    rows[:50] = True
    rows[50 : 50 + mixed, 3] = True
    calm = np.arange(100)[:, None] < still
    outcomes = {"full": Outcomes(rows[:, :2]), "repeat": Outcomes(rows[:, :2])}
    outcomes |= {"full ±1.5": Outcomes(rows[:, :2]), "repeat ±1.5": Outcomes(rows), "w = 0": Outcomes(calm)}
    return Preflight(0, "repeat", 1.5, outcomes, Movement((moves,), (1.0,)), {"full": 2, "repeat": 1}, False)


LITTLE = (
    "random draws show little head-room; an actor, which chooses by state, may find more, most of all by noise=full"
)
BETTER = "w = 0 alone gives 80%, where an actor starts: compare with it by zero_noise=true"


def test_a_small_gain_of_the_best_draw_is_little_and_a_better_mean_is_reported() -> None:
    verdict = judge(_handmade(still=50))
    assert verdict.rule == "little"
    assert verdict.sentence == f"the best of 8 draws solves 52% against 50%: {LITTLE}"
    assert judge(_handmade(still=80)).sentence.endswith(f"; {BETTER}")
    assert judge(_handmade(still=80, mixed=20)).sentence == (
        f"steering can lift this policy from 50% towards 70%; {BETTER}"
    )


def test_no_headroom_is_found_in_worlds_that_seeds_do_not_repeat(tmp_path: Path) -> None:
    found = _handmade(still=50, mixed=20)
    rows = {name: replace(outcomes, repeated=outcomes.draws < 2) for name, outcomes in found.outcomes.items()}
    found = replace(found, outcomes=rows)
    verdict = judge(found)
    assert verdict.rule == "unrepeated"
    assert "head-room cannot be measured by random draws (52% with the actor's noise, 50% without)" in verdict.sentence
    assert report.tables(found)[1].row_count == 0
    written = report.content(found, verdict)["outcomes"][found.actor]
    assert (written["pass_at"], written["mixed_worlds"]) == (None, None)
    report.plot(tmp_path / "preflight.png", found, verdict)


def test_chunk_deviations_are_those_of_noise_and_worlds() -> None:
    seeds = range(20)  # states -4.5, -3.5 … 4.5, twice
    moved = chunk_movement(_env(lambda state, noise: 2 * noise + 3 * state, magnitude=9.0), seeds, draws=400)
    assert moved.over_noise == pytest.approx((2.0,), rel=0.03)
    assert moved.between_worlds == pytest.approx((3 * np.std(np.arange(10)),), rel=0.03)
    assert moved.relative[0] == pytest.approx(moved.over_noise[0] / moved.between_worlds[0])
    still = chunk_movement(_env(lambda state, noise: state), seeds)
    assert still.over_noise == (0.0,)
    assert Movement((0.0, 1.0, 1.0), (0.0, 0.0, 4.0)).relative == (0.0, float("inf"), 0.25)


def test_the_result_does_not_depend_on_how_many_worlds_run_side_by_side() -> None:
    found = [
        measure(
            env, noises(env.noise, (2, 1), 2), worlds=10, first_seed=5, draws=3, other_draws=1, on_row=lambda *_: None
        ).outcomes
        for env in (_env(lambda state, noise: noise, num_envs=num) for num in (3, 10))
    ]
    assert all(np.array_equal(found[0][name].scores, found[1][name].scores) for name in found[0])


def test_tables_plot_and_json_have_the_measured_numbers(tmp_path: Path) -> None:
    found = _handmade(still=40, mixed=20)
    text = io.StringIO()
    for table in report.tables(found):
        Console(file=text, width=80).print(table)
    assert "pass@8" in text.getvalue()
    assert "…" not in text.getvalue().replace("% … ", "")  # nothing is cut off
    assert "70%" in text.getvalue()
    written = json.loads(json.dumps(report.content(found, judge(found))))
    assert written["verdict"]["rule"] == "lift"
    assert written["outcomes"]["repeat ±1.5"]["pass_at"]["8"] == 0.7
    assert written["outcomes"]["w = 0"]["success_rate"] == 0.4
    assert written["chunk_std"] == {"over_noise": [1.0], "between_worlds": [1.0]}
    report.plot(tmp_path / "preflight.png", found, judge(found))
    assert (tmp_path / "preflight.png").stat().st_size > 5000


def test_the_script_prints_a_verdict_and_writes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "_parts", lambda overrides, screen: toy_parts())
    main(["--draws", "3", "num_envs=4", "--out", str(tmp_path / "out")])
    shown, written = capsys.readouterr().out, json.loads((tmp_path / "out" / "preflight.json").read_text())
    assert written["verdict"]["sentence"] in shown
    assert written["overrides"] == ["num_envs=4"]
    assert written["policy_sha256"] == "0" * 64
    assert written["worlds"] == 10
    ((rows, seconds),) = written["decoding_seconds"].items()
    assert int(rows) == toy_parts().settings.batch_size
    assert f"sac=dsrl_na decodes up to {rows} chunks for each update: {seconds * 1000:.3g} ms" in shown.replace(
        "\n", " "
    )
    assert {name: row["episodes"] for name, row in written["outcomes"].items()} == {
        "full": 20, "repeat": 20, "full ±1": 20, "repeat ±1": 30, "w = 0": 10
    }  # fmt: skip
    assert (tmp_path / "out" / "preflight.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=pendulum", "policy=identity"], "error: this policy has no weights, so that there is no base to steer"),
        (["task=pendulum", "policy=identity"], r"or add policy_sha256\(\) to one of your own that has weights"),
        (["task=pendulums"], "error: task=pendulums is not known; choose one of aloha, gym,"),
        (["task=pendulum", "validation_seed=1000000"], "error: test_seed=1000000 and validation_seed=1000000 share"),
    ],
)
def test_impossible_options_end_in_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        main(arguments)


@pytest.mark.parametrize(
    ("draws", "low", "high"),
    [
        (np.repeat(np.arange(64)[:, None] < 32, 8, axis=1), *wilson_of_mean(0.5, 64)),  # all draws of a world agree
        (np.arange(512).reshape(64, 8) % 2 == 0, *wilson_of_mean(0.5, 64)),  # worlds that are all alike: no variance
    ],
)
def test_draws_in_one_world_are_no_independent_episodes(draws: NDArray[np.bool_], low: float, high: float) -> None:
    assert Outcomes(draws).interval == pytest.approx((low, high))


def test_draws_that_no_world_decides_are_independent_episodes() -> None:
    random = Outcomes(np.random.default_rng(0).random((640, 8)) < 0.5)
    low, high = random.interval
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(random.scores.size), rel=0.1)
