"""A diffusion MLP on state observations: trained to predict the noise (DDPM), sampled by DDIM with eta = 0.

    training   x_k = √ᾱ_k·a + √(1 - ᾱ_k)·w,  w ~ N(0, I),  k ~ U{0 … K-1};   ε(s, x_k, k) -> w
    denoising  x = w;   for k of `ddim_levels`, from the noisiest down, with k' the next one (ᾱ_k' = 1 after the last):
                   a = clip((x - √(1 - ᾱ_k)·ε(s, x, k)) / √ᾱ_k, -1, 1)
                   x = √ᾱ_k'·a + √(1 - ᾱ_k')·(x - √ᾱ_k·a) / √(1 - ᾱ_k)

Ho et al. (arXiv 2006.11239) eq. 14; Song et al. (arXiv 2010.02502) eq. 12; cosine schedule of Nichol and Dhariwal
(arXiv 2102.09672) eq. 17. Levels and clipping are those of the published DSRL experiments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dsrl.policy._ddim import check_ddim_steps
from dsrl.policy._denoiser import Denoiser
from dsrl.policy._mlp import MLPPolicy
from dsrl.policy._mlp_checkpoint import MLPConfig

_OFFSET = 0.008  # s of the cosine schedule, eq. 17
_LARGEST_BETA = 0.999


class _Level(NamedTuple):
    """Square roots of one DDIM step, and the embedding of its level."""

    signal: float  # √ᾱ_k
    noise: float  # √(1 - ᾱ_k)
    next_signal: float  # √ᾱ_k'
    next_noise: float  # √(1 - ᾱ_k')
    timed: Tensor  # [1, H]


class DiffusionMLP(MLPPolicy):
    """A frozen diffusion MLP; see `MLPPolicy`."""

    kind = "diffusion_mlp"

    def _prepare(self, network: Denoiser, config: MLPConfig, num_steps: int) -> None:
        assert config.train_steps is not None
        check_ddim_steps(num_steps, config.train_steps, self.path, own=config.num_steps)
        signal_shares = cosine_schedule(config.train_steps).tolist()
        levels = ddim_levels(config.train_steps, num_steps)
        self._levels = []
        for level, following in zip(levels, [*levels[1:], None], strict=True):
            after = 1.0 if following is None else signal_shares[following]
            with torch.no_grad():
                timed = network.timed(torch.tensor([level / config.train_steps], device=self.device))
            signal, noise, next_signal, next_noise = map(
                math.sqrt, (signal_shares[level], 1 - signal_shares[level], after, 1 - after)
            )
            self._levels.append(_Level(signal, noise, next_signal, next_noise, timed))

    def _denoise(self, embedded: Tensor, noise: Tensor) -> Tensor:
        noisy = noise
        for level in self._levels:
            predicted = self._network(embedded, noisy, level.timed)
            chunk = (torch.sub(noisy, predicted, alpha=level.noise) / level.signal).clamp_(-1.0, 1.0)
            predicted = torch.sub(noisy, chunk, alpha=level.signal) / level.noise
            noisy = level.next_signal * chunk + level.next_noise * predicted
        return noisy


def cosine_schedule(train_steps: int) -> Tensor:
    """Return ᾱ [train_steps], float64: the share of the signal's variance at each level."""
    times = torch.arange(train_steps + 1, dtype=torch.float64) / train_steps
    signal_shares = torch.cos((times + _OFFSET) / (1 + _OFFSET) * math.pi / 2).square()
    betas = (1 - signal_shares[1:] / signal_shares[:-1]).clamp(max=_LARGEST_BETA)
    return torch.cumprod(1 - betas, 0)


def ddim_levels(train_steps: int, num_steps: int) -> list[int]:
    """Return `num_steps` of the training levels, evenly spaced down to 0: 20 and 5 give 16, 12, 8, 4, 0."""
    stride = train_steps // num_steps
    return [stride * i for i in reversed(range(num_steps))]


def squared_errors(
    network: Denoiser, config: MLPConfig, features: Tensor, chunk: Tensor, noise: Tensor, level: Tensor
) -> Tensor:
    """Return the squared errors [B, N] of the predicted noise.

    For flat chunks in [-1, 1] and noise [B, N] at levels [B] in [0, 1): k = ⌊level · K⌋.
    """
    assert config.train_steps is not None
    index = (level * config.train_steps).long()
    signal_shares = cosine_schedule(config.train_steps).to(chunk)[index, None]
    noisy = signal_shares.sqrt() * chunk + (1 - signal_shares).sqrt() * noise
    predicted: Tensor = network(network.from_state(features), noisy, network.timed(index / config.train_steps))
    return (predicted - noise).square()
