"""DSRL-SAC: soft actor-critic whose action is the noise of a frozen policy (arXiv 2506.15799).

One gradient step, in the order of the published code, with û, log π ~ π(s) drawn once and α = exp(log α) fixed:

    temperature   L = -mean[log α · (log π + H̄)]
    critics       y = c·r + γ (1 - terminated) (min_j Q̄_j(s', u') - α log π(u'|s')),  L = ½ Σ_j MSE(Q_j(s, u), y)
    actor         L = mean[α log π - min_j Q_j(s, û)]
    polyak        Q̄ <- τ Q + (1 - τ) Q̄

A time-out bootstraps: only `terminated` cuts the return. c is the reward scale, against which α weighs entropy.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from gymnasium.spaces import Box
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.algorithm.modelfree.ddpg import ActorCriticOffPolicyAlgorithm
from tianshou.algorithm.optim import OptimizerFactory
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.interfaces import Replay
from dsrl.sac._networks import Actor, FeatureScaler, StackedCritics, Temperature
from dsrl.sac._noise_policy import NoisePolicy, prior_std
from dsrl.sac._options import (
    Activation,
    Auto,
    Count,
    Depth,
    Discount,
    Positive,
    Rate,
    Share,
    Width,
    adam,
    initial_temperature,
    tuned_entropy,
)


@dataclass(kw_only=True)
class SACStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one update, still tensors: converting them would wait for the device."""

    critic_loss: Tensor
    q: Tensor
    actor_loss: Tensor | None = None
    entropy: Tensor | None = None
    alpha: Tensor | None = None
    alpha_loss: Tensor | None = None


class DSRLSAC(ActorCriticOffPolicyAlgorithm):  # type: ignore[misc]  # tianshou is not followed
    """tianshou's SAC with E stacked critics, exact update order and a critic warm-up. Replay stores u in [-1, 1]."""

    replay: Replay = "noise"
    bounded = True  # whether its noise stays within ±magnitude, that of the warm-up too

    def __init__(
        self,
        *,
        policy: NoisePolicy,
        critics: StackedCritics,
        temperature: Temperature,
        target_entropy: float | None,
        optimisers: tuple[OptimizerFactory, OptimizerFactory, OptimizerFactory],
        gamma: float,
        tau: float,
        reward_scale: float,
        critic_warmup_updates: int,
    ) -> None:
        """`target_entropy` None fixes the temperature. `optimisers` are those of actor, critics, temperature."""
        actor_optim, critic_optim, alpha_optim = optimisers
        super().__init__(
            policy=policy, policy_optim=actor_optim, critic=critics, critic_optim=critic_optim, tau=tau, gamma=gamma
        )
        self.temperature = temperature
        self.target_entropy = target_entropy
        self.alpha_optim = None if target_entropy is None else self._create_optimizer(temperature, alpha_optim)
        self.reward_scale = reward_scale
        self.critic_warmup_updates = critic_warmup_updates

    @property
    def stochastic(self) -> bool:
        """Whether evaluations draw from the actor rather than take its mean.

        They draw until its first step: its draws are then the base policy's noise, its mean w = 0 is another policy.
        """
        return not self.policy.actor.head.weight.any()

    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors w [n, dim] for features [n, F], see `NoisePolicy.act`; the mean without `normal`."""
        noise: Tensor = self.policy.act(features, normal)
        return noise

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore a `state_dict`, optimisers included. The caller's dict is copied and stays unchanged."""
        return super().load_state_dict(deepcopy(dict(state_dict)), strict=strict, assign=assign)

    def warm_up(self, buffer: ReplayBuffer, batch_size: int) -> list[TrainingStats]:
        """Fit the feature scaling to the base policy's play in `buffer`, then train the critics alone. Called once.

        The actor remains the base policy meanwhile, so that its first step follows trained critics.
        """
        self._fit_scaling(buffer, buffer.sample_indices(0))
        stats: list[TrainingStats] = []
        for _ in range(self.critic_warmup_updates):
            batch, indices = buffer.sample(batch_size)
            loss, q = self._critic_step(self._preprocess_batch(batch, buffer, indices))
            self._update_lagged_network_weights()
            stats.append(SACStats(critic_loss=loss, q=q))
        return stats

    def learn(self, buffer: ReplayBuffer, batch_size: int, updates: int) -> list[TrainingStats]:
        """Learn after a round of play: `updates` gradient steps."""
        return [self.update(buffer, batch_size) for _ in range(updates)]

    def _fit_scaling(self, buffer: ReplayBuffer, indices: Any) -> None:
        self.policy.scaler.fit(torch.as_tensor(buffer.obs[indices], dtype=torch.float32))

    def _preprocess_batch(self, batch: Any, buffer: ReplayBuffer, indices: Any) -> Any:
        """Add tensors to the batch: `features`, the critics' other input `choice`, and their target `returns`."""
        batch.features = self.policy.standardise(batch.obs)
        batch.choice = self._choice(batch)
        reward, terminated = self._tensor(batch.rew), self._tensor(batch.terminated)
        batch.returns = self.reward_scale * reward + self.gamma * (1.0 - terminated) * self._next_value(batch)
        return batch

    def _choice(self, batch: Any) -> Tensor:
        """Return the critics' input besides features: u [B, dim]."""
        return self._tensor(batch.act)

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.policy.scaler.mean.device)

    @torch.no_grad()
    def _next_value(self, batch: Any) -> Tensor:
        """Return the soft value [B] of the next state under target critics and the current actor."""
        features = self.policy.standardise(batch.obs_next)
        noise, log_prob = self.policy.sample(features)
        value: Tensor = self._joined(self.critic_old(features, noise)) - self.temperature.value * log_prob
        return value

    def _update_with_batch(self, batch: Any) -> TrainingStats:
        noise, log_prob = self.policy.sample(batch.features)
        alpha = self.temperature.value
        alpha_loss = self._temperature_step(log_prob.detach())
        critic_loss, q = self._critic_step(batch)
        actor_loss = self._actor_step(batch.features, noise, log_prob, alpha)
        self._update_lagged_network_weights()
        entropy = -log_prob.detach().mean()
        return SACStats(
            critic_loss=critic_loss, q=q, actor_loss=actor_loss, entropy=entropy, alpha=alpha, alpha_loss=alpha_loss
        )

    def _temperature_step(self, log_prob: Tensor) -> Tensor | None:
        if self.alpha_optim is None or self.target_entropy is None:
            return None
        loss = -(self.temperature.log_alpha * (log_prob + self.target_entropy)).mean()
        self.alpha_optim.step(loss)
        return loss.detach()

    def _critic_step(self, batch: Any) -> tuple[Tensor, Tensor]:
        values = self.critic(batch.features, batch.choice)  # [E, B]
        loss = 0.5 * (values - batch.returns).square().mean(1).sum()
        self.critic_optim.step(loss)
        return loss.detach(), values.detach().mean()

    def _actor_step(self, features: Tensor, noise: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
        critic = self._actors_critic
        critic.requires_grad_(False)  # the gradient passes through the critics to the actor alone
        loss: Tensor = (alpha * log_prob - self._joined(critic(features, noise))).mean()
        self.policy_optim.step(loss)
        critic.requires_grad_(True)
        return loss.detach()

    def _joined(self, values: Tensor) -> Tensor:
        """Return the smallest value [B] of all critics [E, B]."""
        return values.amin(0)

    @property
    def _actors_critic(self) -> StackedCritics:
        """The critics of noise u that the actor maximises."""
        critic: StackedCritics = self.critic
        return critic


def build_dsrl_sac(
    observation_space: Box,
    action_space: Box,
    *,
    hidden: Width,
    depth: Depth,
    activation: Activation,
    num_critics: Count,
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
) -> DSRLSAC:
    """Build DSRL-SAC for features `observation_space` [F] and the noise box `action_space` [dim], which give all sizes.

    A number `alpha` fixes the temperature and `auto` tunes it from `initial_alpha` towards `target_entropy` (of u, in
    nats; `auto` is -dim). Weights are drawn from torch's global generator. Raises ValueError for values out of range.
    """
    start = initial_temperature(alpha, initial_alpha)
    features, dim = observation_space.shape[0], action_space.shape[0]
    actor = Actor(features, dim, hidden, depth, activation, prior_std(float(action_space.high[0])))
    policy = NoisePolicy(actor, FeatureScaler(features), observation_space, action_space)
    return DSRLSAC(
        policy=policy,
        critics=StackedCritics(num_critics, features, dim, hidden, depth, activation),
        temperature=Temperature(start, trainable=alpha == "auto"),
        target_entropy=tuned_entropy(alpha, target_entropy, dim),
        optimisers=(adam(actor_lr), adam(critic_lr), adam(alpha_lr)),
        gamma=gamma,
        tau=tau,
        reward_scale=reward_scale,
        critic_warmup_updates=critic_warmup_updates,
    )
