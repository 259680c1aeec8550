"""Verdicts of preflight on outcomes by hand: returns instead of successes, and noise better than the actor's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsrl.evaluation.outcomes import Outcomes
from scripts.preflight import report
from scripts.preflight.measure import Movement, Preflight
from scripts.preflight.verdict import judge

PAID = np.random.default_rng(0).random((100, 8)) < 0.2
WORTH = 1000.0 * np.arange(100)[:, None]  # worlds differ by more than draws


@pytest.mark.parametrize(
    ("base", "actor", "rule", "words"),
    [
        (PAID, PAID, "lift", r"^steering can lift this policy from a mean return of 49500.\d+ towards 49500.8\d$"),
        (PAID, 0 * PAID, "broken", r"^repeated noise breaks .* \(49500.00 against .*draws returns 49500.00$"),
        (0 * PAID, 0 * PAID, "powerless", r"any world \(mean return 49500.00 by all of 8 draws\): steering"),
    ],
    ids=["lift", "broken", "powerless"],
)
def test_returns_are_judged_by_how_far_draws_change_them(
    base: NDArray[Any], actor: NDArray[Any], rule: str, words: str
) -> None:
    rows = {"full": base[:, :2], "repeat": actor[:, :2], "full ±1.5": base[:, :2], "repeat ±1.5": actor}
    outcomes = {name: Outcomes(WORTH + paid) for name, paid in (rows | {"w = 0": base[:, :1]}).items()}
    found = Preflight(0, "repeat", 1.5, outcomes, Movement((1.0,), (1.0,)), {"full": 2, "repeat": 1}, False)
    verdict = judge(found)
    assert verdict.rule == rule
    assert re.search(words, verdict.sentence), verdict.sentence
    assert report.content(found, verdict)["outcomes"]["full"]["success_rate"] is None
    assert [column.header for column in report.tables(found)[0].columns][2] == "return"


@pytest.mark.parametrize(
    ("changing", "remedy"),
    [
        (("repeat ±1.5", "smooth 2 ±1.5"), "noise=repeat do (the best of 2 solves 3%)"),
        (("smooth 2 ±1.5",), "noise=smooth noise.rank=2 do (the best of 2 solves 3%)"),
        (("full",), "noise=full with a larger noise.magnitude do (the best of 2 solves 3%)"),
    ],
)
def test_noise_that_changes_outcomes_is_named_where_that_of_the_actor_changes_none(
    changing: Sequence[str], remedy: str
) -> None:
    names = ("full", "repeat", "full ±1.5", "repeat ±1.5", "smooth 2 ±1.5", "w = 0")
    failed = np.zeros((100, 8), dtype=bool)
    solved = np.arange(200).reshape(100, 2) % 67 == 0  # by one draw in three worlds
    outcomes = {name: Outcomes(solved if name in changing else failed) for name in names}
    dims = {"full": 8, "repeat": 1, "smooth 2": 2}
    verdict = judge(Preflight(0, "full", 1.5, outcomes, Movement((1.0,), (1.0,)), dims, False))
    assert (verdict.rule, verdict.sentence) == (
        "powerless",
        "no draw of noise=full changes the outcome of any world (0% solved by all of 8 draws), "
        f"but those of {remedy}: use it",
    )
