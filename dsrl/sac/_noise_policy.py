"""The actor as tianshou's SACPolicy: a tanh-squashed Gaussian u, and w = magnitude·u for the sampler."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.data import Batch
from torch import Tensor, nn
from torch.nn import functional

from dsrl.sac._networks import FeatureScaler
from dsrl.sac._options import DrawnWhen

Floats = NDArray[np.float32]

DRAWN_WHEN = get_args(DrawnWhen)
HELD = 1  # begins the key of held draws, so that no other draw by a world's seed equals them
LARGEST = 0.99  # |u| in atanh: noise that was clipped to the box has an infinite one
DIVERGED = "the actor's noise is not finite; it has diverged, so lower its learning rates"


class Draw(NamedTuple):
    """Draws of an actor, one for each state."""

    noise: Tensor  # u [n, dim]
    log_prob: Tensor  # log π(u) [n]
    mean: Tensor  # of the Gaussian before tanh [n, dim]
    log_std: Tensor  # [n, dim]


class NoisePolicy(SACPolicy):  # type: ignore[misc]  # tianshou is not followed
    """A policy from features to squashed noise u in [-1, 1]; tianshou scales u to the noise box; replay stores u."""

    def __init__(
        self,
        actor: nn.Module,
        scaler: FeatureScaler,
        observation_space: Box,
        action_space: Box,
        exploration: DrawnWhen = "fresh",
        target_draws: DrawnWhen = "fresh",
    ) -> None:
        """`exploration` is when training draws ε of tanh(μ(s) + σ(s)·ε): at each decision, or once an episode.

        `target_draws` is the same of noise in the critics' targets, see `draw_after`. Raises ValueError for another.
        """
        for name, value in (("exploration", exploration), ("target_draws", target_draws)):
            if value not in DRAWN_WHEN:
                raise ValueError(f"sac.{name}={value} must be one of {', '.join(DRAWN_WHEN)}")
        super().__init__(actor=actor, action_space=action_space, observation_space=observation_space)
        self.scaler = scaler
        self.held, self.holds_targets = exploration == "held", target_draws == "held"
        self.needs_draws = False  # whether a mean fails, and so would held draws: then all draws are fresh
        self.magnitude = float(action_space.high[0])

    @staticmethod
    def _compile() -> None:
        """Leave out tianshou's eager numba compilation of n-step returns: seconds for unused functions."""

    def forward(self, batch: Any, state: Any = None, **kwargs: Any) -> Batch:
        """Return u [n, dim] for `batch.obs` [n, F]: random within a training step, tanh of the mean otherwise.

        Held draws are those of the seeds `batch.info.seed` [n]: an episode that is resumed goes on with its own.
        Raises FloatingPointError where u is not finite.
        """
        mean, log_std = self.actor(self.standardise(batch.obs))
        deterministic = self.deterministic_eval and not self.is_within_training_step
        if deterministic:
            normal = torch.zeros_like(mean)
        else:
            held = self.held and not self.needs_draws
            normal = held_draws(batch.info.seed, mean) if held else torch.randn_like(mean)
        squashed, log_prob = squashed_sample(mean, log_std, normal)
        if not bool(squashed.isfinite().all()):
            raise FloatingPointError(DIVERGED)
        return Batch(act=squashed, log_prob=log_prob, logits=(mean, log_std.exp()))

    def standardise(self, features: Floats | Tensor) -> Tensor:
        """Return features [n, F] standardised for the networks, on their device."""
        return cast(Tensor, self.scaler(torch.as_tensor(features, dtype=torch.float32, device=self.scaler.mean.device)))

    def draw(self, features: Tensor) -> Draw:
        """Draw u [n, dim] for standardised features, differentiable, by torch's global generator."""
        mean, log_std = self.actor(features)
        return Draw(*squashed_sample(mean, log_std, torch.randn_like(mean)), mean, log_std)

    def draw_after(self, features: Tensor, before: Floats, taken: Tensor) -> Draw:
        """Draw u' [n, dim] for standardised features [n, F] that follow u at the features `before`, held draws.

        u' = tanh(μ(s') + atanh u - μ(s)): the deviation of the decision from its mean stays. u is cut at ±0.99 and μ(s)
        where its tanh is, so that a mean deviates from itself by nothing wherever it lies. Nor do recorded chunks
        without noise, whose u is not a number.
        """
        mean, log_std = self.actor(features)
        cut = math.atanh(LARGEST)
        centre = self.actor(self.standardise(before))[0].clamp(-cut, cut)
        deviation = torch.where(taken.isnan(), 0.0, torch.atanh(taken.clamp(-LARGEST, LARGEST)) - centre)
        return Draw(*squashed_sample(mean, log_std, deviation * torch.exp(-log_std)), mean, log_std)

    @torch.no_grad()
    def known(self, features: Floats, taken: Tensor) -> Tensor:
        """Return u [n, dim] of decisions at features [n, F]: the mean's where `taken` is not a number."""
        missing = taken.isnan()
        if not bool(missing.any()):
            return taken
        return torch.where(missing, torch.tanh(self.actor(self.standardise(features))[0]), taken)

    @torch.no_grad()
    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors w [n, dim] in the noise box for features [n, F]; on the CPU.

        Deterministic, w = b·tanh μ, without `normal`; with standard normal draws [n, dim], w = b·tanh(μ + σ·normal).
        The caller draws, so that each draw depends on its world and decision alone, in every batch.
        """
        mean, log_std = self.actor(self.standardise(features))
        if normal is not None:
            mean = mean + log_std.exp() * normal.to(mean)
        return (self.magnitude * torch.tanh(mean)).cpu()


def held_draws(seeds: Iterable[int], like: Tensor) -> Tensor:
    """Draw standard normal numbers [n, dim], as many as `like` has, one row for each world's seed: always the same."""
    rows = [np.random.default_rng((HELD, int(seed))).standard_normal(like.shape[1]) for seed in seeds]
    return torch.as_tensor(np.array(rows)).to(like)


def squashed_sample(mean: Tensor, log_std: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Return u = tanh(mean + std·normal) [n, dim] and its log density [n], of u itself: no Jacobian of the scale b.

    The density of w = b·u is `log_prob - dim·log b`. log(1 - tanh²x) = 2(log 2 - x - softplus(-2x)) stays exact
    where 1 - u² underflows (SAC, arXiv 1801.01290, app. C, eq. 21).
    """
    raw = mean + log_std.exp() * normal
    gaussian = -0.5 * normal.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    jacobian = 2.0 * (math.log(2.0) - raw - functional.softplus(-2.0 * raw))
    return torch.tanh(raw), (gaussian - jacobian).sum(-1)


def prior_std(magnitude: float) -> float:
    """Return the σ for which b·tanh(σε) has the second moment of clip(ε, -b, b), ε ~ N(0, 1), b = magnitude.

    The actor starts there, with mean 0: as near to the base policy's own noise as a tanh in the box allows. For a wide
    box σ tends to 1/b; at b = 1 it is about 1.4. Solved by bisection; the moments are integrated numerically.
    """
    epsilon = np.linspace(-8.0, 8.0, 4001)
    density = np.exp(-0.5 * epsilon**2)
    density /= density.sum()
    target = float(density @ np.clip(epsilon, -magnitude, magnitude) ** 2)
    low, high = 1e-3 / magnitude, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        moment = float(density @ (magnitude * np.tanh(middle * epsilon)) ** 2)
        low, high = (middle, high) if moment < target else (low, middle)
    return math.sqrt(low * high)
