"""Measures how far noise moves the chunks, which noise the actor chooses and whether its critics rank noise rightly.

    latest encoding of every world  x  fresh w ~ N(0, I)  -> chunks          how far noise moves them
                                    x  the actor's w                         distance from the prior, share at the bound
                                    x  fresh w  -> Q^W(s, w), Q^A(s, chunk)  whether noise is ranked as its chunks are

Measuring changes nothing else: draws come from a generator of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsrl.interfaces import Algorithm, ChunkCritic, Encoding, NoiseCritic
from dsrl.noise_action_env import NoiseActionEnv

AT_BOUND = 0.99  # of the magnitude


def diagnose(env: NoiseActionEnv, algorithm: Algorithm, draws: int = 16) -> dict[str, float]:
    """Measure at the latest encoding of every world, over `draws` noise vectors for each.

    `chunk_std`: standard deviation of chunks over noise, in action units. `noise_share`: the share of the variance of
    chunks that noise explains (the rest comes from the observation), 0 where noise moves nothing. `at_bound`: share of
    the actor's numbers at the magnitude. `squared_norm`: mean of ‖w‖² divided by its dimension, and `chi2_quantile`:
    mean quantile of ‖w‖² under the prior's χ²; the prior has 1 and 0.5. `rank_correlation`: Spearman's ρ of Q^W with
    Q^A over noise, averaged over worlds, where an algorithm has both. Raises ValueError before the first reset.
    """
    if env.encoding is None:
        raise ValueError("the environment has no encoding yet; call env.reset() before diagnose")
    with torch.random.fork_rng(devices=[]):  # numbers that no vector steers may be drawn from the CPU's global stream
        torch.default_generator.manual_seed(0)  # not torch.manual_seed: it seeds devices too, which nothing restores
        metrics = _measured(env, env.encoding, algorithm, draws)
    return {f"diagnostics/{name}": value for name, value in metrics.items()}


def _measured(env: NoiseActionEnv, latest: Encoding, algorithm: Algorithm, draws: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    worlds = torch.arange(len(env)).repeat_interleave(draws)
    encoding = latest[worlds]
    prior = env.noise.sample_prior(len(worlds), generator)
    chunks = env.decode(encoding, prior).flatten(1)
    features = encoding.features.float()
    steered = algorithm.act(features, env.noise.sample_prior(len(worlds), generator))
    metrics = _spread(chunks.view(len(env), draws, -1)) | _distance(steered, env.noise.magnitude)
    if isinstance(algorithm, ChunkCritic) and isinstance(algorithm, NoiseCritic):
        by_chunk = algorithm.chunk_values(encoding, prior).amin(0).cpu()
        by_noise = algorithm.noise_values(features, prior).amin(0).cpu()
        metrics["rank_correlation"] = rank_correlation(by_noise.view(len(env), draws), by_chunk.view(len(env), draws))
    return metrics


def _spread(chunks: Tensor) -> dict[str, float]:
    """Compute the metrics of chunks [worlds, draws, numbers]."""
    over_noise = chunks.var(1, correction=0).mean(0)
    total = chunks.flatten(0, 1).var(0, correction=0)
    moving = total > 1e-12
    share = (over_noise[moving] / total[moving]).mean().item() if moving.any() else 0.0
    return {"chunk_std": over_noise.sqrt().mean().item(), "noise_share": share}


def _distance(steered: Tensor, magnitude: float) -> dict[str, float]:
    """Compute the metrics of the actor's vectors [n, dim]."""
    squared, dim = steered.square().sum(1), steered.shape[1]
    quantile = torch.special.gammainc(torch.full_like(squared, dim / 2), squared / 2)
    return {
        "at_bound": (steered.abs() >= AT_BOUND * magnitude).float().mean().item(),
        "squared_norm": squared.mean().item() / dim,
        "chi2_quantile": quantile.mean().item(),
    }


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's ρ along the rows of two [rows, n] tensors, averaged over rows; 0 for one without an order."""
    from scipy.stats import spearmanr  # seconds to import

    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    ordered = [spearmanr(*pair).statistic if all(len(set(one)) > 1 for one in pair) else 0.0 for pair in pairs]
    return float(sum(ordered) / len(ordered))
