"""DSRL-SAC by the recipe of its π0 experiments: many critics, their mean, and no entropy in the backup.

One gradient step, in the order of the published code (arXiv 2506.15799, app. on generalist policies; dsrl_pi0):

    critics       y = r + γ^k (1 - terminated) mean_j Q̄_j(s', u'),  u' ~ π(s'),  L = mean_j MSE(Q_j(s, u), y)
    polyak        Q̄ <- τ Q + (1 - τ) Q̄
    actor         L = mean[α log π(û) - mean_j Q_j(s, û)],  û ~ π(s), the critics just updated
    temperature   L = α · mean[-log π(û) - H̄],  by the same û

γ is per control step and k the executed horizon. Only `terminated` (success, in the published tasks) cuts the return.
Entropies are those of u; in the published code, those of w = b·u: its H̄ is `target_entropy + dim·log b`.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.sac._networks import Actor, FeatureScaler, StackedCritics, Temperature
from dsrl.sac._noise_policy import NoisePolicy, prior_std
from dsrl.sac._options import (
    Activation,
    Auto,
    Critics,
    Depth,
    Discount,
    Positive,
    Rate,
    Share,
    Width,
    adam,
    initial_temperature,
)
from dsrl.sac._regulariser import Entropy
from dsrl.sac._returns import RewardScale, Transitions
from dsrl.sac._stats import SACStats
from dsrl.sac.dsrl_sac import DSRLSAC


class DSRLPi0(DSRLSAC):
    """DSRL-SAC with the mean of its critics, a backup without entropy, and critics that step before the actor."""

    def _joined(self, values: Tensor) -> Tensor:
        """Return the mean [B] of all critics [E, B]."""
        return values.mean(0)

    @torch.no_grad()
    def _next_value(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return the value [B] of the states after `rows`, without entropy."""
        features = self.policy.standardise(buffer.obs_next[rows])
        return self._joined(self.critic_old(features, self.policy.draw(features).noise))

    def _update_with_batch(self, batch: Transitions) -> TrainingStats:
        alpha = self.temperature.value
        critic_loss, q = self._critic_step(batch)
        self._update_lagged_network_weights()
        drawn = self.policy.draw(batch.features)
        actor_loss = self._actor_step(batch.features, drawn.noise, drawn.log_prob, alpha)
        alpha_loss = self._temperature_step(drawn.log_prob.detach())
        entropy = -drawn.log_prob.detach().mean()
        return SACStats(
            critic_loss=critic_loss, q=q, actor_loss=actor_loss, entropy=entropy, alpha=alpha, alpha_loss=alpha_loss
        )

    def _critic_step(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        values = self.critic(batch.features, batch.choice)  # [E, B]
        loss = (values - batch.returns).square().mean()
        self.critic_optim.step(loss)
        return loss.detach(), values.detach().mean()

    def _temperature_step(self, penalty: Tensor) -> Tensor | None:
        if self.alpha_optim is None:
            return None
        loss = self.temperature.log_alpha.exp() * (self.regulariser.limit - penalty).mean()
        self.alpha_optim.step(loss)
        return loss.detach()


def build_dsrl_pi0(
    observation_space: Box,
    action_space: Box,
    *,
    chunk_shape: tuple[int, int],
    hidden: Width,
    depth: Depth,
    activation: Activation,
    num_critics: Critics,
    alpha: Positive | Auto,
    initial_alpha: Positive,
    target_entropy: float | Auto,
    actor_lr: Rate,
    critic_lr: Rate,
    alpha_lr: Rate,
    gamma: Discount,
    tau: Share,
    reward_scale: Positive,
    critic_warmup_updates: Annotated[int, Ge(0)],
) -> DSRLPi0:
    """Build the π0 recipe for features [F], the noise box [dim] and chunks that execute `chunk_shape[0]` actions.

    `gamma` is per control step; see `build_dsrl_sac` for the rest. Raises ValueError for values out of range.
    """
    start = initial_temperature(alpha, initial_alpha)
    features, dim = observation_space.shape[0], action_space.shape[0]
    actor = Actor(features, dim, hidden, depth, activation, prior_std(float(action_space.high[0])))
    return DSRLPi0(
        policy=NoisePolicy(actor, FeatureScaler(features), observation_space, action_space),
        critics=StackedCritics(num_critics, features, dim, hidden, depth, activation),
        temperature=Temperature(start, trainable=alpha == "auto"),
        regulariser=Entropy(target_entropy, dim),
        optimisers=(adam(actor_lr), adam(critic_lr), adam(alpha_lr)),
        gamma=gamma ** chunk_shape[0],
        tau=tau,
        reward_scale=RewardScale(reward_scale),
        critic_warmup_updates=critic_warmup_updates,
    )
