"""Diagnostics against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.evaluation.diagnostics import diagnose, rank_correlation
from dsrl.noise._steered import Unsteered
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv


class Prior:
    """An actor that plays its normal numbers, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def act(self, features, normal=None):
        return self.factor * normal


class Ranking(Prior):
    """Values chunks by their first number, and noise by the same, negated, or by something else."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def chunk_values(self, encoding, vectors):
        return torch.stack([vectors[:, 0] + encoding.context["taken"], vectors[:, 0] + 100.0])

    def noise_values(self, features, vectors):
        return torch.stack([self.sign * vectors[:, 0] + 5.0] * 2)


def make_env(num_envs: int = 4, action_dims: int | None = None, unsteered: Unsteered = "zero") -> NoiseActionEnv:
    noise = FullNoise((4, 2), 1.5, action_dims, unsteered)
    env = NoiseActionEnv(CountdownTask(num_envs), EchoPolicy(), noise, 4)
    env.reset(seeds=[6, 7, 8, 9][:num_envs])
    return env


def test_an_actor_at_the_prior_has_the_metrics_of_the_prior():
    metrics = diagnose(make_env(), Prior(), draws=500)
    assert metrics["diagnostics/squared_norm"] == pytest.approx(1.0, abs=0.05)
    assert metrics["diagnostics/chi2_quantile"] == pytest.approx(0.5, abs=0.03)
    assert metrics["diagnostics/at_bound"] == pytest.approx(2 * stats.norm.sf(0.99 * 1.5), abs=0.01)
    assert metrics["diagnostics/chunk_std"] == pytest.approx(1.0, abs=0.03)  # the chunk of the toy is its noise
    assert metrics["diagnostics/noise_share"] == pytest.approx(1.0, abs=0.01)
    assert "diagnostics/rank_correlation" not in metrics


def test_an_actor_far_from_the_prior_has_a_large_norm_and_quantile():
    metrics = diagnose(make_env(), Prior(factor=3.0), draws=100)
    assert metrics["diagnostics/squared_norm"] == pytest.approx(9.0, rel=0.2)
    assert metrics["diagnostics/chi2_quantile"] > 0.95


def test_variance_from_the_observation_is_not_counted_as_noise():
    env = make_env()
    env.encoding.context["taken"][:] = torch.tensor([0.0, 10.0, 20.0, 30.0])  # a variance of 125 between the worlds
    metrics = diagnose(env, Prior(), draws=500)
    assert metrics["diagnostics/noise_share"] == pytest.approx(1 / 126, rel=0.1)
    assert metrics["diagnostics/chunk_std"] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rank_correlation_is_that_of_noise_values_with_chunk_values(sign):
    assert diagnose(make_env(), Ranking(sign))["diagnostics/rank_correlation"] == pytest.approx(sign)


def test_values_without_an_order_are_not_ranked():
    """Noise that moves no chunk has the same value everywhere; ties have the mean of their ranks."""
    order, level = torch.arange(6.0).expand(2, 6), torch.ones(1, 6)
    assert rank_correlation(order, torch.cat([order[:1], level])) == pytest.approx(0.5)
    tied = torch.tensor([[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]])
    assert rank_correlation(order[:1], tied) == pytest.approx(stats.spearmanr(order[0], tied[0]).statistic)


def test_measuring_does_not_seed_a_device_on_which_an_actor_draws(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the device was seeded"))
    diagnose(make_env(), Prior())


def test_measuring_leaves_the_random_state_and_the_worlds_alone():
    env = make_env()
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    before = env.encoding
    assert diagnose(env, Prior()) == diagnose(env, Prior())
    assert torch.equal(torch.randn(2), expected)
    assert env.encoding is before
    partly = make_env(action_dims=1, unsteered="fresh")
    torch.manual_seed(3)
    assert diagnose(partly, Prior()) == diagnose(partly, Prior())
    assert torch.equal(torch.randn(2), expected)
    with pytest.raises(ValueError, match=r"has no encoding yet; call env\.reset\(\)"):
        diagnose(NoiseActionEnv(CountdownTask(2), EchoPolicy(), FullNoise((4, 2), 1.5, None), 4), Prior())
