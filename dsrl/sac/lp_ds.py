"""LP-DS: a shift of the prior's noise that starts at zero, within a trust region (arXiv 2606.01151).

    w = ε + Δ_θ(s),  ε ~ N(0, I)          Δ_θ = 0 before the first step: the base policy, exactly

One gradient step, with λ the multiplier of the constraint E‖Δ‖² <= δ:

    multiplier    L = -log λ · (mean‖Δ(s)‖² - δ)                          λ grows while the constraint is broken
    critics       y = clip(c·R + γ^m (1 - terminated) min_j Q̄_j(s', w'), bounds),  w' = ε' + Δ(s')
                  L = ½ Σ_j MSE(Q_j(s, w), y)
    actor         L = mean[λ ‖Δ(s)‖² - min_j Q_j(s, ε + Δ(s))]
    polyak        Q̄ <- τ Q + (1 - τ) Q̄

The noise has the prior's variance, so that no entropy is rewarded, and no box: critics take u = w/b unclipped.
c, R, m and bounds are those of DSRL-SAC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from gymnasium.spaces import Box
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.data import Batch
from torch import Tensor, nn

from dsrl.sac._networks import FeatureScaler, StackedCritics, Temperature, hidden_layers, zero_layer
from dsrl.sac._noise_policy import Draw, Floats, NoisePolicy
from dsrl.sac._options import ActorCriticOptions, Auto, Positive, Rate, adam
from dsrl.sac._returns import RewardScale, Transitions
from dsrl.sac.dsrl_sac import NoiseActorCritic


@dataclass(kw_only=True)
class LPDSStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one update, still tensors."""

    critic_loss: Tensor
    q: Tensor
    actor_loss: Tensor
    squared_shift: Tensor  # mean of ‖Δ‖², to be compared with δ
    multiplier: Tensor  # λ
    multiplier_loss: Tensor | None


class Shift(nn.Module):
    """The shift Δ of standardised features; its output layer starts at zero, and so does Δ."""

    def __init__(self, inputs: int, dim: int, hidden: int, depth: int, activation: str) -> None:
        super().__init__()
        self.trunk = hidden_layers(inputs, hidden, depth, activation)
        self.head = zero_layer(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return Δ [B, dim] in standard deviations of the prior."""
        shift: Tensor = self.head(self.trunk(features))
        return shift


class ShiftPolicy(NoisePolicy):
    """A policy from features to w = ε + Δ; replay and critics take u = w/b, without bounds."""

    def forward(self, batch: Any, state: Any = None, **kwargs: Any) -> Batch:
        """Return u [n, dim] for `batch.obs` [n, F]: with fresh ε within a training step, ε = 0 otherwise."""
        shift = self.actor(self.standardise(batch.obs))
        deterministic = self.deterministic_eval and not self.is_within_training_step
        noise = shift if deterministic else shift + torch.randn_like(shift)
        return Batch(act=noise / self.magnitude)

    def draw(self, features: Tensor) -> Draw:
        """Draw u [n, dim] for standardised features, differentiable, ε from torch's global generator; its mean is Δ."""
        shift = self.actor(features)
        normal = torch.randn_like(shift)
        log_prob = -0.5 * (normal.square() + math.log(2.0 * math.pi)).sum(-1) + shift.shape[1] * math.log(
            self.magnitude
        )
        return Draw((shift + normal) / self.magnitude, log_prob, shift, torch.zeros_like(shift))

    @torch.no_grad()
    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors w [n, dim] for features [n, F]: Δ + ε with the draws `normal` as ε, Δ alone without."""
        shift: Tensor = self.actor(self.standardise(features))
        return (shift if normal is None else shift + normal.to(shift)).cpu()

    def map_action(self, act: Any) -> Floats:
        """Return w of u, without tianshou's clipping."""
        values = act.detach().cpu().numpy() if isinstance(act, Tensor) else act
        noise: Floats = np.asarray(self.magnitude * values, dtype=np.float32)
        return noise


class SquaredShift:
    """The regulariser ‖Δ‖², whose mean is bounded by δ."""

    in_backup = False  # the return has no term for the trust region

    def __init__(self, delta: float) -> None:
        self.limit = delta

    def penalty(self, mean: Tensor, log_std: Tensor, log_prob: Tensor) -> Tensor:
        """Return ‖Δ‖² [n] of shifts `mean` [n, dim]."""
        return mean.square().sum(-1)


class LPDS(NoiseActorCritic):
    """DSRL-SAC with ‖Δ‖² as its regulariser: λ is in the place of α, and δ is the limit.

    It clones no noise: its actor is a shift, which replay does not store.
    """

    policy: ShiftPolicy
    stochastic = True  # the policy is ε + Δ: Δ alone differs from the base policy at the start
    bounded = False  # clipped noise differs from the base policy's

    def _update_with_batch(self, batch: Transitions) -> TrainingStats:
        drawn = self.policy.draw(batch.features)
        squared_shift, multiplier = self._penalty(drawn), self.temperature.value
        multiplier_loss = self._temperature_step(squared_shift.detach())
        critic_loss, q = self._critic_step(batch)
        actor_loss = self._actor_step(batch.features, drawn.noise, squared_shift, multiplier)
        self._update_lagged_network_weights()
        return LPDSStats(
            critic_loss=critic_loss,
            q=q,
            actor_loss=actor_loss,
            squared_shift=squared_shift.detach().mean(),
            multiplier=multiplier,
            multiplier_loss=multiplier_loss,
        )


def build_lp_ds(
    observation_space: Box,
    action_space: Box,
    *,
    delta: Positive | Auto,
    initial_multiplier: Positive,
    multiplier_lr: Rate,
    **options: Unpack[ActorCriticOptions],
) -> LPDS:
    """Build LP-DS for features [F] and noise of `action_space` [dim], whose bound b only scales the critics' input.

    `delta` bounds the mean of ‖Δ‖², in squared standard deviations; `auto` is dim, the mean of ‖ε‖². Raises ValueError
    for values out of range.
    """
    features, dim = observation_space.shape[0], action_space.shape[0]
    radius = float(dim if delta == "auto" else delta)
    for name, value in (("delta", radius), ("initial_multiplier", initial_multiplier)):
        if not value > 0:
            raise ValueError(f"sac.{name}={value} must be above 0")
    layers = options["hidden"], options["depth"], options["activation"]
    shift = Shift(features, dim, *layers)
    return LPDS(
        policy=ShiftPolicy(shift, FeatureScaler(features), observation_space, action_space),
        critics=StackedCritics(options["num_critics"], features, dim, *layers),
        temperature=Temperature(initial_multiplier, trainable=True),
        regulariser=SquaredShift(radius),
        optimisers=(adam(options["actor_lr"]), adam(options["critic_lr"]), adam(multiplier_lr)),
        gamma=options["gamma"],
        tau=options["tau"],
        reward_scale=RewardScale(options["reward_scale"]),
        critic_warmup_updates=options["critic_warmup_updates"],
    )
