"""Statistics from plain numbers, against values worked out by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from dsrl.evaluation.statistics import (
    mcnemar,
    mean_interval,
    sign_flip_bound,
    sign_flip_test,
    skewed_mean_test,
    summarise,
    wilson,
)


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


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_the_wilson_interval_is_that_of_scipy_to_the_last_digit(hits: int) -> None:
    interval = binomtest(hits, 10).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(hits, 10) == (interval.low, interval.high)


def test_a_summary_has_counts_rates_and_means() -> None:
    numbers = summarise([True] * 8 + [False] * 2, [1.0] * 8 + [0.0, 3.0], [2] * 5 + [4] * 5)
    low, high = numbers.pop("ci95")
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert numbers == {
        "successes": 8,
        "episodes": 10,
        "success_rate": 0.8,
        "mean_return": pytest.approx(1.1),
        "mean_length": 3.0,
    }


def test_the_interval_of_a_mean_is_students() -> None:
    """Of 1, 2, 3: 2 ± 4.303 · 1 / √3, with the quantile of two degrees of freedom from a table."""
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert mean_interval([1.0]) is None


def test_a_summary_without_a_success_criterion_has_nulls_instead_of_zeros() -> None:
    numbers = summarise(None, [-3.0, -5.0], [10, 20])
    assert [numbers[name] for name in ("successes", "success_rate", "ci95")] == [None, None, None]
    assert (numbers["episodes"], numbers["mean_return"], numbers["mean_length"]) == (2, -4.0, 15.0)


@pytest.mark.parametrize(
    ("base", "steered", "counts", "p_value"),
    [
        ("110000", "101110", (1, 3, 1, 1), 0.625),  # 2 (1 + 4) / 2^4
        ("0000000000", "1111111111", (0, 10, 0, 0), 2 / 2**10),
        ("1111111111", "0000000000", (0, 0, 10, 0), 2 / 2**10),
        ("1100", "1100", (2, 0, 0, 2), 1.0),  # no world differs
        ("10", "01", (0, 1, 1, 0), 1.0),
    ],
)
def test_mcnemars_test_counts_the_worlds_that_differ(
    base: str, steered: str, counts: tuple[int, int, int, int], p_value: float
) -> None:
    result = mcnemar(*([world == "1" for world in worlds] for worlds in (base, steered)))
    assert result.pop("p_value") == pytest.approx(p_value)
    assert tuple(result[name] for name in ("both", "only_steered", "only_base", "neither")) == counts


def test_mcnemars_test_refuses_results_of_different_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        mcnemar([True, False], [True])


def test_sign_flips_are_those_of_one_draw_in_little_memory() -> None:
    values = np.random.default_rng(1).normal(0.05, 1.0, 500)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (9999, 500))
    expected = (1 + int((signs @ values >= values.sum() - 1e-9).sum())) / 10_000
    tracemalloc.start()
    assert sign_flip_test(values.tolist()) == expected
    assert tracemalloc.get_traced_memory()[1] < 2**24  # all signs take 40 MB
    tracemalloc.stop()


def test_the_test_of_a_skewed_mean_is_halls_transformation() -> None:
    """Of 2, 2, 2, -1: mean 1.25, deviation 1.5, skewness -2 / √3; of 5 / 6: 0.8333 - 0.2673 + 0.0286 - 0.0481."""
    assert skewed_mean_test([2.0, 2.0, 2.0, -1.0]) == pytest.approx(norm.sf(2 * 0.5465), abs=1e-4)
    assert [skewed_mean_test([value] * 3) for value in (0.1, 0.0, -0.1)] == [0.0, 1.0, 1.0]


def test_the_bound_of_sign_flips_is_exact_where_all_gain_and_chernoffs_otherwise() -> None:
    """Of 1, 1, 1, -1 with q = exp(-2 t): (1 + q)^3 (1 + 1 / q) / 16 is least at q = 1 / 3, 0.5926; exactly 5 / 16."""
    assert sign_flip_bound([0.5, 1e-3, 2.0, 0.0]) == pytest.approx(1 / 2**3)
    assert sign_flip_bound([1.0, 1.0, 1.0, -1.0]) == pytest.approx(0.5926, abs=1e-3)
    assert [sign_flip_bound(values) for values in ([-1.0, 0.5], [0.0], [])] == [1.0, 1.0, 1.0]
