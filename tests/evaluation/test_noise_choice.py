"""noise=auto: the smallest noise that keeps the base policy's success and can raise it is chosen, or a large one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from toys.guess import Echo, Guess

from dsrl.evaluation import noise_choice
from dsrl.evaluation.episodes import Evaluation, evaluate
from dsrl.evaluation.noise_choice import BASE, NoiseChoice, choose_noise, most_evaluations
from dsrl.evaluation.noise_sources import Act
from dsrl.interfaces import Encoding, Noise
from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise
from dsrl.noise_action_env import NoiseActionEnv

SLOTS, WORLDS = 8, 100
SHAPE = (SLOTS, 1)
CANDIDATES: Mapping[str, Noise] = {
    "repeat": RepeatNoise(SHAPE, 1.5, None),
    "smooth": SmoothNoise(SHAPE, 1.5, None, 2, "zero"),
    "full": FullNoise(SHAPE, 1.5, None),
}
Decode = Callable[[Tensor, Tensor], Tensor]  # (state [B, 1, 1], noise [B, 8, 1]) -> chunk [B, 2, 1]


class Through(Echo):
    """A policy of two actions, given by a formula of eight slots of noise."""

    noise_shape = SHAPE

    def __init__(self, formula: Decode) -> None:
        self.formula = formula

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return self.formula(encoding.features[:, None], noise)


def _chosen(formula: Decode, *, has_success: bool = True, largest_loss: float = 0.2, apart: float = 0.0) -> NoiseChoice:
    """Choose in worlds whose returns are `apart` times their seed's last digit higher."""
    env = NoiseActionEnv(Guess(20, max_steps=2), Through(formula), CANDIDATES["full"], 2)
    env.has_success = has_success

    def play(act: Act) -> Evaluation:
        found = evaluate(env, act, episodes=WORLDS, first_seed=0)
        returns = np.array(found.returns) + apart * (np.array(found.seeds) % 10)
        return replace(found, returns=tuple(returns.tolist()))

    return choose_noise(CANDIDATES, SHAPE, play, draws=2, largest_loss=largest_loss)


def _first_slots(state: Tensor, noise: Tensor) -> Tensor:
    """One of two signs must be right: every slot is as good as another, and one draw is right in half of the worlds."""
    return noise[:, :1].repeat(1, 2, 1)


def _first_and_last(state: Tensor, noise: Tensor) -> Tensor:
    """Two chances where the slots differ, one where they are equal."""
    return noise[:, [0, SLOTS - 1]]


def _needs_differences(state: Tensor, noise: Tensor) -> Tensor:
    """Right only where the noise changes its sign between all neighbours of four."""
    changes = (noise[:, 1:4] * noise[:, :3] < 0).all(1, keepdim=True)
    return changes * state.sign().repeat(1, 2, 1)


def _solved(state: Tensor, noise: Tensor) -> Tensor:
    return state.repeat(1, 2, 1) + 0 * noise[:, :2]


def _hopeless(state: Tensor, noise: Tensor) -> Tensor:
    return -_solved(state, noise)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (_first_slots, "repeat"),  # keeps 1/2, and the best of two draws solves 3/4
        (_first_and_last, "smooth"),  # repeat keeps 1/2 of 3/4, which is a third less
        (_needs_differences, "full"),  # smooth noise never changes so often
        (_solved, "repeat"),  # nothing can be raised: the smallest that keeps the success
    ],
)
def test_the_smallest_noise_that_keeps_the_success_is_chosen(formula: Decode, expected: str) -> None:
    choice = _chosen(formula)
    assert choice.name == expected
    assert choice.numbers == {"repeat": 1, "smooth": 2, "full": SLOTS}[expected]
    assert expected in choice.sentence


@pytest.mark.parametrize("right", [0, 2.5])
def test_where_no_noise_shows_headroom_the_actor_gets_more_to_choose_from(right: float) -> None:
    choice = _chosen(lambda state, noise: _solved(state, noise) * (state.abs() < right))
    assert choice.name == "full"
    assert "no smaller noise has head-room by the best of 2 draws; base policy" in choice.sentence


def test_without_headroom_a_largest_noise_that_clipping_breaks_is_not_chosen() -> None:
    """No number of full noise exceeds 1.5; a slot of smooth noise, which is a sum of two, does."""
    choice = _chosen(lambda state, noise: _half(state, noise) * (noise[:, :1].abs() > 1.55), largest_loss=0.5)
    assert choice.name == "smooth"
    assert choice.sentence.endswith(", full within noise.magnitude 0%")
    assert [choice.measured[name].score for name in ("repeat", "full")] == [0, 0]


def test_without_headroom_no_more_numbers_are_chosen_than_were_ever_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_choice, "LEARNT", 2)
    choice = _chosen(_hopeless)
    assert choice.name == "smooth"
    assert sum(one.draws for one in choice.measured.values()) == most_evaluations(CANDIDATES, 2)
    monkeypatch.setattr(noise_choice, "LEARNT", 0)
    assert _chosen(_hopeless).name == "repeat"


def test_larger_noise_is_not_played_once_the_choice_is_made() -> None:
    assert list(_chosen(_first_slots).measured) == [BASE, "repeat"]
    choice = _chosen(_needs_differences)
    assert list(choice.measured) == [BASE, "repeat", "smooth"]  # full noise is the base policy's
    assert "full (8 numbers): other noise loses too much of the base policy's success, " in choice.sentence


def test_a_loss_that_is_allowed_does_not_matter() -> None:
    def formula(state: Tensor, noise: Tensor) -> Tensor:
        """A second chance where the last slot is large: repeated noise keeps 0.50 of 0.58; its best of 2 is 0.75."""
        last = noise[:, -1:] * (noise[:, -1:].abs() > 1)
        return torch.cat([noise[:, :1], last], dim=1)

    assert _chosen(formula, largest_loss=0.4).name == "repeat"
    assert _chosen(formula, largest_loss=0.0).name != "repeat"


def test_a_noise_that_changes_nothing_is_left_for_one_that_does() -> None:
    """Repeated noise gives one chunk for all draws, so that no draw is better than another."""

    def formula(state: Tensor, noise: Tensor) -> Tensor:
        right = (state.abs() < 2.5).float() * state.sign()  # half of the worlds, whatever the noise is
        lucky = (noise[:, :1] - noise[:, -1:] > 0.5).float() * state.sign()
        return right.repeat(1, 2, 1) + lucky.repeat(1, 2, 1)

    choice = _chosen(formula, largest_loss=0.5)
    repeat = choice.measured["repeat"]
    assert repeat.best_of(2) == repeat.score == 0.4
    assert choice.name == "smooth"


def _half(state: Tensor, noise: Tensor) -> Tensor:
    """Right in half of the worlds, whatever the noise is."""
    return _solved(state, noise) * (state.abs() < 2.5)


@pytest.mark.parametrize(
    ("formula", "has_success", "doubt"),
    [
        (_first_slots, True, None),
        (_half, True, "no draw of noise changed the outcome of any of {} (8 draws each): steering will hardly help"),
        (_half, False, "no draw of noise changed the outcome of any of {} (8 draws each): steering will hardly help"),
        (_hopeless, True, "no draw of noise solved any of {} (8 draws each): there is no success to learn from"),
        (_solved, True, "the base policy already succeeds in 100%: steering has little to add"),
    ],
)
def test_a_policy_that_noise_can_hardly_help_is_doubted(formula: Decode, has_success: bool, doubt: str | None) -> None:
    choice = _chosen(formula, has_success=has_success)
    assert choice.doubt == (doubt and doubt.format(f"{WORLDS} worlds"))
    assert choice.content()["doubt"] == choice.doubt


def test_of_a_single_noise_the_base_policy_alone_is_played_for_the_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "CANDIDATES", {"full": CANDIDATES["full"]})
    choice = _chosen(_solved)
    assert choice.sentence == "full (8 numbers): there is no other; base policy 100%"
    assert choice.doubt == "the base policy already succeeds in 100%: steering has little to add"


def test_a_choice_without_a_measurement_has_no_doubt() -> None:
    assert NoiseChoice("noise=full", SLOTS, {}).doubt is None


@pytest.mark.parametrize("apart", [0.0, -1e4])
@pytest.mark.parametrize("formula", [_first_slots, _first_and_last, _needs_differences])
def test_a_task_without_success_chooses_by_mean_returns_as_by_the_success_that_they_pay(
    formula: Decode, apart: float
) -> None:
    """Draws pay 1/2, 3/4 and 1/8 on average, and worlds may differ by far more than that."""
    choice, known = _chosen(formula, has_success=False, apart=apart), _chosen(formula)
    assert (choice.name, list(choice.measured)) == (known.name, list(known.measured))
    assert choice.measured[BASE].score == pytest.approx(known.measured[BASE].score + 4.5 * apart)
    assert choice.doubt is None
    assert "return" in choice.sentence
    assert "success" not in choice.sentence
    assert not any("success_rate" in row for row in choice.content()["measured"].values())


@pytest.mark.parametrize(("formula", "name"), [(_half, "full"), (_hopeless, "full")])
def test_returns_that_no_draw_changes_show_no_headroom(formula: Decode, name: str) -> None:
    assert _chosen(formula, has_success=False).name == name


VALIDATION_WORLDS = 64
LARGEST_SHARE = 0.93  # of the normal distribution below the magnitude


def _bernoulli_choice(base: float, repeat: float, first_seed: int, *, draws: int, rare: bool) -> NoiseChoice:
    """Choose for worlds that the base policy solves with probability `base`, and repeated noise with `repeat`."""
    assert max(base, repeat) < LARGEST_SHARE
    candidates = {name: CANDIDATES[name] for name in ("repeat", "full")}
    seeds = tuple(range(first_seed, first_seed + VALIDATION_WORLDS))
    encoding = Encoding(torch.zeros(VALIDATION_WORLDS, 1), {})

    def play(act: Act) -> Evaluation:
        noise = act(encoding, seeds, 0)
        p = torch.where((noise == noise[:, :1]).all(1), repeat, base)
        share = torch.special.ndtr(noise[:, :1])
        if rare:  # the smallest shares are cut off with the noise
            share = 97 * share % 1
        successes = tuple((share < p[:, None])[:, 0, 0].tolist())
        return Evaluation(seeds, successes, tuple(map(float, successes)), (1,) * VALIDATION_WORLDS)

    return choose_noise(candidates, SHAPE, play, draws=draws, largest_loss=0.2)


def _bernoulli_choices(
    base: float, repeat: float, num: int, *, draws: int = 8, rare: bool = False
) -> list[NoiseChoice]:
    """Choose in `num` sets of worlds."""
    return [_bernoulli_choice(base, repeat, VALIDATION_WORLDS * i, draws=draws, rare=rare) for i in range(num)]


def _accepted(choices: Sequence[NoiseChoice]) -> float:
    return float(np.mean([choice.name == "repeat" for choice in choices]))


def _draws(choices: Sequence[NoiseChoice]) -> float:
    """Return the mean number of draws of repeated noise."""
    return float(np.mean([choice.measured["repeat"].draws for choice in choices]))


def test_a_noise_that_loses_a_third_is_refused() -> None:
    choices = _bernoulli_choices(0.39, 0.26, 100)
    assert _accepted(choices) <= 0.05
    assert _draws(choices) < 5


def test_a_noise_that_loses_nothing_is_accepted() -> None:
    choices = _bernoulli_choices(0.39, 0.39, 100)
    assert _accepted(choices) >= 0.9
    assert _draws(choices) < 5


def test_below_the_headroom_of_two_draws_a_noise_that_succeeds_significantly_more_is_chosen() -> None:
    """The best of two draws of a noise that succeeds in 2 % gains less than 5 points."""
    assert _accepted(_bernoulli_choices(0.003, 0.025, 30, rare=True)) >= 0.7
    assert _accepted(_bernoulli_choices(0.01, 0.01, 30, rare=True)) <= 0.1


@pytest.mark.parametrize(("repeat", "accepted"), [(0.08, 0.0), (0.6, 1.0)])
def test_clear_differences_need_two_draws(repeat: float, accepted: float) -> None:
    choices = _bernoulli_choices(0.39, repeat, 40)
    assert _accepted(choices) == accepted
    assert _draws(choices) < 2.05


def test_more_draws_decide_better_where_the_loss_is_near_the_largest() -> None:
    """A loss of a fourth is accepted in about a third of cases by 2 draws, and in about a sixth by up to 8."""
    early, late = (_bernoulli_choices(0.4, 0.3, 100, draws=draws) for draws in (2, 8))
    assert _accepted(late) < _accepted(early) - 0.05


def test_the_base_policy_is_drawn_as_often_as_a_noise_in_doubt() -> None:
    choices = _bernoulli_choices(0.39, 0.31, 20)
    assert max(choice.measured["repeat"].draws for choice in choices) == 8
    for choice in choices:
        assert choice.measured[BASE].draws == choice.measured["repeat"].draws
        rows = choice.content()["measured"]
        assert rows["repeat"]["draws"] == rows["repeat"]["episodes"] / VALIDATION_WORLDS


def test_draws_of_the_base_policy_are_shared_by_the_candidates() -> None:
    """Each noise and draw is played once, whatever the order of the doubts."""
    env = NoiseActionEnv(Guess(20, max_steps=2), Through(_first_and_last), CANDIDATES["full"], 2)
    num_played = 0

    def play(act: Act) -> Evaluation:
        nonlocal num_played
        num_played += 1
        return evaluate(env, act, episodes=40, first_seed=0)

    choice = choose_noise(CANDIDATES, SHAPE, play, draws=8, largest_loss=0.25)  # repeat loses a third: in doubt
    draws = [one.draws for one in choice.measured.values()]
    assert len(draws) == 3
    assert draws[0] == max(draws) > 2
    assert num_played == sum(draws)
