"""A reward under which failing pays more than success is noticed before anything learns."""

from __future__ import annotations

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.opposed_reward import opposed_reward

WON = (True, False) * 20


def _evaluation(returns: tuple[float, ...], successes: tuple[bool, ...] | None = WON) -> Evaluation:
    return Evaluation(tuple(range(40)), successes, returns, (1,) * 40)


def test_a_reward_for_living_on_opposes_success() -> None:
    warning = opposed_reward(_evaluation(tuple(30.0 + i if won else 80.0 for i, won in enumerate(WON))))
    assert "that succeed return 49.0 on average, others 80.0" in str(warning)


def test_success_that_pays_more_or_as_much_does_not() -> None:
    assert opposed_reward(_evaluation(tuple(map(float, WON)))) is None
    assert opposed_reward(_evaluation((1.0,) * 40)) is None


def test_without_both_kinds_of_episodes_nothing_is_known() -> None:
    for successes in (None, (True,) * 40, (False,) * 40):
        assert opposed_reward(_evaluation((1.0,) * 40, successes)) is None
