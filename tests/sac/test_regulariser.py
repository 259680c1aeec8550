"""The penalty of leaving the base policy's noise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsrl.sac._networks import Actor
from dsrl.sac._noise_policy import prior_std
from dsrl.sac._regulariser import Divergence, Entropy, regulariser_named

STD = prior_std(1.5)
NUMBERS = st.floats(-3.0, 3.0)


def divergence(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    return Divergence(math.log(STD), 1.0).penalty(mean, log_std, torch.zeros(len(mean)))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_the_divergence_is_torchs_own_for_each_number(numbers: list[tuple[float, float]]) -> None:
    mean, log_std = (torch.tensor([column], dtype=torch.float64) for column in zip(*numbers, strict=True))
    actor = torch.distributions.Normal(mean, log_std.exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), STD)
    expected = torch.distributions.kl_divergence(actor, prior).mean(1)
    torch.testing.assert_close(divergence(mean, log_std), expected, rtol=1e-6, atol=1e-9)


def test_the_base_policys_noise_is_free_and_all_other_noise_costs() -> None:
    at_prior = divergence(torch.zeros(1, 32), torch.full((1, 32), math.log(STD)))
    torch.testing.assert_close(at_prior, torch.zeros(1), rtol=0, atol=1e-6)
    for mean, log_std in ((0.1, math.log(STD)), (0.0, math.log(STD) + 0.1), (0.0, math.log(STD) - 0.1)):
        assert divergence(torch.full((1, 32), mean), torch.full((1, 32), log_std)) > 1e-3


@pytest.mark.parametrize("magnitude", [0.1, 0.2, 1.5, 1e6])
def test_an_actor_starts_at_no_penalty_in_narrow_and_wide_boxes_too(magnitude: float) -> None:
    std = prior_std(magnitude)
    mean, log_std = Actor(3, 4, 8, 1, "ReLU", std)(torch.randn(5, 3))
    penalty = Divergence(math.log(std), 1.0).penalty(mean, log_std, torch.zeros(5))
    torch.testing.assert_close(penalty, torch.zeros(5), rtol=0, atol=1e-6)
    penalty.sum().backward()


def test_the_penalty_of_a_number_does_not_depend_on_how_many_there_are() -> None:
    few = divergence(torch.full((1, 4), 0.7), torch.full((1, 4), -1.0))
    many = divergence(torch.full((1, 1600), 0.7), torch.full((1, 1600), -1.0))
    torch.testing.assert_close(few, many)


def test_entropy_is_penalised_by_its_density_and_limited_by_its_target() -> None:
    log_prob = torch.tensor([1.0, -2.0])
    entropy = regulariser_named("entropy", STD, 1.0, "auto", 32)
    assert isinstance(entropy, Entropy)
    assert torch.equal(entropy.penalty(torch.zeros(2, 1), torch.zeros(2, 1), log_prob), log_prob)
    assert entropy.limit == 32.0
    assert regulariser_named("entropy", STD, 1.0, 0.0, 32).limit == 0.0


def test_an_entropy_above_that_of_uniform_noise_is_refused() -> None:
    assert regulariser_named("entropy", STD, 1.0, 22.0, 32).limit == -22.0
    with pytest.raises(ValueError, match=r"sac.target_entropy=23.0 cannot be reached: .* below 22.18 nats; .* -23.0"):
        regulariser_named("entropy", STD, 1.0, 23.0, 32)


def test_a_regulariser_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sac.regulariser=trust must be kl or entropy"):
        regulariser_named("trust", STD, 1.0, "auto", 32)  # type: ignore[arg-type]


@pytest.mark.parametrize(("numbers", "limit"), [(1, 3.0), (2, 1.5), (4, 0.75), (6, 0.5), (32, 0.5), (1600, 0.5)])
def test_few_numbers_may_leave_the_base_policys_noise_by_three_nats_in_all(numbers: int, limit: float) -> None:
    assert regulariser_named("kl", STD, "auto", "auto", numbers).limit == limit
    assert regulariser_named("kl", STD, 0.2, "auto", numbers).limit == 0.2
