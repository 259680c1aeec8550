"""DSRL-NA with selection: of N noises of the actor the best by the noise critic is decoded (FASTER, arXiv 2604.19730).

    features  ->  actor  ->  u_1 … u_N  ->  k = argmax_i min_j Q^W_j(s, u_i)  ->  π_dp(s, b·u_k): one chunk, one decode

In training u_i ~ π(s). Evaluations compare the actor's mean, or a draw where w = 0 fails, with N - 1 draws whose normal
numbers are constants, so that they depend on the state alone; until the actor's first step they draw once, as DSRL-NA
does: the base policy.
With `select_targets` the noise u' of the critics' target is selected in the same way, and decoded once too.

All losses are those of DSRL-NA. FASTER learns the value of noise by temporal differences, whose reward is the value of
the decoded chunk; with one filtering step, at the noise, that is the distillation of Q^A into Q^W. Its candidates come
from the base policy's noise; here they come from the actor, which starts there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.data import Batch, ReplayBuffer
from torch import Tensor, nn

from dsrl.interfaces import Decoder
from dsrl.sac._networks import FeatureScaler
from dsrl.sac._noise_policy import DIVERGED, Draw, NoisePolicy
from dsrl.sac._options import NAOptions
from dsrl.sac._parts import build_na_parts
from dsrl.sac.dsrl_na import DSRLNA

Candidates = Annotated[int, Ge(2), Le(1024)]


class SelectingPolicy(NoisePolicy):
    """A policy that draws N noises from its actor and plays the one of the largest value."""

    normals: Tensor  # [N - 1, dim], of evaluations
    values: Callable[[Tensor, Tensor], Tensor]  # standardised features [n, F], u [n, dim] -> values [n]

    def __init__(
        self, actor: nn.Module, scaler: FeatureScaler, observation_space: Box, action_space: Box, num: int
    ) -> None:
        """`num` is the number N of candidates; the owner sets `values`."""
        super().__init__(actor, scaler, observation_space, action_space)
        self.num = num
        self.register_buffer("normals", torch.randn(num - 1, action_space.shape[0]))

    def forward(self, batch: Any, state: Any = None, **kwargs: Any) -> Batch:
        """Return u [n, dim] for `batch.obs` [n, F]: within a training step the best of N draws, else the mean's tanh.

        Raises FloatingPointError where u is not finite.
        """
        if not self.is_within_training_step:
            return super().forward(batch, state, **kwargs)
        drawn = self.best_draw(self.standardise(batch.obs))
        if not bool(drawn.noise.isfinite().all()):
            raise FloatingPointError(DIVERGED)
        return Batch(act=drawn.noise, log_prob=drawn.log_prob, logits=(drawn.mean, drawn.log_std.exp()))

    def best_draw(self, features: Tensor) -> Draw:
        """Draw N noises for each of the standardised features [n, F] and return the best, with its log density."""
        drawn = self.draw(features.repeat_interleave(self.num, 0))
        best = self._best(features, drawn.noise)
        return Draw(*(value[best] for value in drawn))

    @torch.no_grad()
    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors w [n, dim] for features [n, F]: the best of N.

        The first candidate is the mean, or with `normal` [n, dim] the draw by it, which is the only one until the
        actor's first step and where means are played.
        """
        if normal is not None and not (self.needs_draws and self.actor.head.weight.any()):
            return super().act(features, normal)
        scaled = self.standardise(features)
        mean, log_std = self.actor(scaled)
        std = log_std.exp()
        first = mean if normal is None else mean + std * normal.to(mean)
        moved = mean[:, None] + std[:, None] * self.normals  # [n, N - 1, dim]
        noise = torch.tanh(torch.cat([first[:, None], moved], 1)).flatten(0, 1)
        return (self.magnitude * noise[self._best(scaled, noise)]).cpu()

    def _best(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return the rows [n] of the largest values among u [n·N, dim], the N of a state in a row."""
        with torch.no_grad():
            values = self.values(features.repeat_interleave(self.num, 0), noise).view(-1, self.num)
        return values.argmax(1) + self.num * torch.arange(len(features), device=values.device)


class DSRLSelect(DSRLNA):
    """DSRL-NA whose noise critic chooses among N noises of the actor before the one decode."""

    policy: SelectingPolicy

    def __init__(self, *, select_targets: bool, **parts: Any) -> None:
        """`parts` are those of `DSRLNA`, with a `SelectingPolicy`."""
        super().__init__(**parts)
        self.select_targets = select_targets
        self.policy.values = self._noise_value

    def _noise_value(self, features: Tensor, noise: Tensor) -> Tensor:
        """Return the smallest value [n] of the noise critics for standardised features and u."""
        return self._joined(self.noise_critic(features, noise))

    def _next_draw(self, features: Tensor, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Draw:
        """Draw the noise of the targets at standardised features: the best of N where targets select, else one."""
        return self.policy.best_draw(features) if self.select_targets else super()._next_draw(features, buffer, rows)


def build_dsrl_select(
    observation_space: Box,
    action_space: Box,
    *,
    decoder: Decoder,
    chunk_shape: tuple[int, int],
    candidates: Candidates,
    select_targets: bool,
    **options: Unpack[NAOptions],
) -> DSRLSelect:
    """Build DSRL-NA with selection among `candidates` noises, in the critics' targets too with `select_targets`.

    See `build_dsrl_na` for the other options. Raises ValueError for values out of range.
    """
    if candidates < 2:
        raise ValueError(f"sac.candidates={candidates} must be at least 2; sac=dsrl_na decodes the only one")
    for name in ("exploration", "target_draws"):
        if options[name] != "fresh":
            raise ValueError(
                f"sac.{name}={options[name]}: sac=dsrl_select plays the best of fresh draws; type sac.{name}=fresh"
            )
    parts = build_na_parts(observation_space, action_space, decoder=decoder, chunk_shape=chunk_shape, **options)
    plain: NoisePolicy = parts["policy"]
    parts["policy"] = SelectingPolicy(plain.actor, plain.scaler, observation_space, action_space, candidates)
    return DSRLSelect(**parts, select_targets=select_targets)
