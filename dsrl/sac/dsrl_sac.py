"""DSRL-SAC: soft actor-critic whose action is the noise of a frozen policy (arXiv 2506.15799).

One gradient step, in the order of the published code, with û ~ π(s) drawn once and α = exp(log α) fixed:

    temperature   L = -mean[log α · (penalty(s) - limit)]
    critics       y = clip(c·R + γ^m (1 - terminated) min_j Q̄_j(s', u'), bounds)
                  L = ½ Σ_j MSE(Q_j(s, u), y)
    actor         L = mean[α penalty(s) - min_j Q_j(s, û)]
    polyak        Q̄ <- τ Q + (1 - τ) Q̄

u' = tanh(μ(s') + atanh u - μ(s)) with `sac.target_draws=held`: what follows deviates from the mean as u does, and so it
is played with `sac.exploration=held`. With `fresh`, u' ~ π(s') as published. ũ' ~ π(s') always.

`penalty` is the divergence of the actor from the base policy's noise. With `sac.regulariser=entropy` it is log π(û),
its limit -H̄, and y = c·R + γ^m (1 - terminated) (min_j Q̄_j(s', u') - α log π(ũ'|s')) without bounds: as published with
`sac.n_step=1` and fresh draws, where ũ' is u'. R sums the next m <= n rewards of the episode, and s' follows them. A
time-out bootstraps: only `terminated` cuts the return. γ is lowered for a near time limit, see
`dsrl.sac._returns.limited_discount`. c is the reward scale; bounds are those of returns of all rewards so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal, Unpack, get_args

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.algorithm.modelfree.ddpg import ActorCriticOffPolicyAlgorithm
from tianshou.algorithm.optim import OptimizerFactory
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.interfaces import Replay
from dsrl.sac._cloning import cloning_step
from dsrl.sac._networks import StackedCritics, Temperature, frozen
from dsrl.sac._noise_policy import Draw, NoisePolicy
from dsrl.sac._optimizer_states import check_optimizers
from dsrl.sac._options import NearPriorOptions
from dsrl.sac._parts import build_parts
from dsrl.sac._recordings import Recordings
from dsrl.sac._regulariser import Regulariser
from dsrl.sac._returns import Bounds, RewardScale, Transitions, following, limited_discount
from dsrl.sac._stats import SACStats

Played = Literal["actor", "zero", "draws"]  # what evaluations of an algorithm play
PLAYS = get_args(Played)


class NoiseActorCritic(ActorCriticOffPolicyAlgorithm):  # type: ignore[misc]  # tianshou is not followed
    """tianshou's SAC with E stacked critics, the published order of updates and a critic warm-up."""

    replay: Replay = "noise"
    discount: Tensor  # [], float64
    bounded = True  # whether its noise stays within ±magnitude, that of the warm-up too

    def __init__(
        self,
        *,
        policy: NoisePolicy,
        critics: StackedCritics,
        temperature: Temperature,
        regulariser: Regulariser,
        optimisers: tuple[OptimizerFactory, OptimizerFactory, OptimizerFactory],
        gamma: float,
        tau: float,
        reward_scale: RewardScale,
        critic_warmup_updates: int,
        n_step: int = 1,
        discount_at_limit: float = 1.0,
    ) -> None:
        """`optimisers` are those of actor, critics, temperature; the last is unused where the temperature is fixed."""
        actor_optim, critic_optim, alpha_optim = optimisers
        super().__init__(
            policy=policy, policy_optim=actor_optim, critic=critics, critic_optim=critic_optim, tau=tau, gamma=gamma
        )
        self.temperature = temperature
        self.regulariser = regulariser
        self.alpha_optim = self._create_optimizer(temperature, alpha_optim) if temperature.trainable else None
        self.reward_scale = reward_scale
        self.critic_warmup_updates, self.n_step = critic_warmup_updates, n_step
        self.discount_at_limit = discount_at_limit
        self.register_buffer("discount", torch.tensor(gamma, dtype=torch.float64))  # γ, as warm-up left it
        self.bounds, self.value_bounds = Bounds(), (-math.inf, math.inf)  # of returns; in the critics' units
        self.recordings = Recordings(self._optimizers)

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
        check_optimizers(self._optimizers, state_dict[self._STATE_DICT_KEY_OPTIMIZERS])
        # States of earlier versions lack these.
        own = {"reward_scale.value": self.reward_scale.value.clone(), "discount": self.discount.clone()}
        own |= {"reward_scale.seen": torch.tensor(True), "bounds.limits": self.bounds.limits.clone()}
        own |= {"reward_scale.centre.values": torch.zeros(2, dtype=torch.float64)}
        loaded = super().load_state_dict(own | deepcopy(dict(state_dict)), strict=strict, assign=assign)
        self.recordings.forget()
        self.reward_scale.centre.restored()
        self.gamma = float(self.discount)
        return loaded

    def warm_up(self, buffer: ReplayBuffer, batch_size: int) -> list[TrainingStats]:
        """Fit the scaling of features and rewards to the base policy's play in `buffer`, then train the critics alone.

        Called once. The actor remains the base policy meanwhile, so that its first step follows trained critics.
        """
        self._fit_scaling(buffer, buffer.sample_indices(0))
        self._fit_to_rewards(buffer)
        steps = (self._warm_up_step(buffer, batch_size) for _ in range(self.critic_warmup_updates))
        return [stats for step in steps for stats in step]

    def _warm_up_step(self, buffer: ReplayBuffer, batch_size: int) -> list[TrainingStats]:
        loss, q = self._critic_step(self._transitions(buffer, buffer.sample_indices(batch_size)))
        self._update_lagged_network_weights()
        return [SACStats(critic_loss=loss, q=q)]

    def learn(self, buffer: ReplayBuffer, batch_size: int, updates: int) -> list[TrainingStats]:
        """Learn after a round of play: `updates` gradient steps."""
        self._fit_to_rewards(buffer)
        return [self.update(buffer, batch_size) for _ in range(updates)]

    def update(self, buffer: ReplayBuffer, sample_size: int | None) -> TrainingStats:
        """Take one gradient step on `sample_size` transitions, or on all of them in order for 0.

        tianshou's own would copy every entry of the batch, contexts included, whether it is read or not.
        """
        batch = self._transitions(buffer, buffer.sample_indices(sample_size))
        return self.recordings.run_for_stats(self._update_with_batch, batch)

    def _fit_scaling(self, buffer: ReplayBuffer, indices: Any) -> None:
        self.policy.scaler.fit(torch.as_tensor(buffer.obs[indices], dtype=torch.float32))

    def _fit_to_rewards(self, buffer: ReplayBuffer) -> None:
        """Fit discount and reward scale to the first rewards, and the bounds of values, where they are returns."""
        if not self.reward_scale.seen and np.any(buffer.rew):
            self.discount.fill_(limited_discount(buffer, self.gamma, self.discount_at_limit))
            self.gamma = float(self.discount)
            self.reward_scale.fit(buffer, self.gamma)
        self.reward_scale.refit(buffer, self.gamma)
        if not self.regulariser.in_backup:
            self.bounds.widen(buffer, self.gamma, self.reward_scale.centre)
            self.value_bounds = self.bounds.scaled(self.reward_scale.value)

    def _transitions(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Transitions:
        """Read `rows` [B] of replay, and compute the critics' targets there."""
        ahead = following(buffer, rows, self.n_step, self.gamma, self.reward_scale.centre)
        weight = self._tensor(ahead.discounts) * (1.0 - self._tensor(buffer.terminated[ahead.last]))
        returns = self.reward_scale.value * self._tensor(ahead.rewards) + weight * self._next_value(buffer, ahead.last)
        features = self.policy.standardise(buffer.obs[rows])
        return Transitions(features, self._choice(buffer, rows), returns.clamp(*self.value_bounds))

    def _choice(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return the critics' input besides features: u [B, dim]."""
        return self._tensor(buffer.act[rows])

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.policy.scaler.mean.device)

    @torch.no_grad()
    def _next_value(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return the value [B] of the states after `rows` under target critics and the current actor."""
        features = self.policy.standardise(buffer.obs_next[rows])
        drawn = self._next_draw(features, buffer, rows)
        return self._joined(self.critic_old(features, drawn.noise)) - self._backup_penalty(features, drawn)

    def _next_draw(self, features: Tensor, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Draw:
        """Draw u' for the targets at the standardised features after `rows`."""
        policy: NoisePolicy = self.policy
        if policy.needs_draws or not policy.holds_targets:
            return policy.draw(features)
        return policy.draw_after(features, buffer.obs[rows], self._tensor(buffer.act[rows]))

    def _backup_penalty(self, features: Tensor, drawn: Draw) -> Tensor | float:
        """Return α times the penalty [n] of draws at the next states, where the regulariser enters the targets.

        A held deviation is no draw of the actor there: its density would measure how far the actor has moved since, and
        so the actor draws anew.
        """
        if not self.regulariser.in_backup:
            return 0.0
        return self.temperature.value * self._penalty(
            self.policy.draw(features) if self.policy.holds_targets else drawn
        )

    def _penalty(self, drawn: Draw) -> Tensor:
        return self.regulariser.penalty(drawn.mean, drawn.log_std, drawn.log_prob)

    def _update_with_batch(self, batch: Transitions) -> TrainingStats:
        drawn = self.policy.draw(batch.features)
        penalty, alpha = self._penalty(drawn), self.temperature.value
        alpha_loss = self._temperature_step(penalty.detach())
        critic_loss, q = self._critic_step(batch)
        actor_loss = self._actor_step(batch.features, drawn.noise, penalty, alpha)
        self._update_lagged_network_weights()
        return SACStats(
            critic_loss=critic_loss,
            q=q,
            actor_loss=actor_loss,
            entropy=-drawn.log_prob.detach().mean(),
            penalty=penalty.detach().mean(),
            alpha=alpha,
            alpha_loss=alpha_loss,
        )

    def _temperature_step(self, penalty: Tensor) -> Tensor | None:
        if self.alpha_optim is None:
            return None
        loss = -(self.temperature.log_alpha * (penalty - self.regulariser.limit)).mean()
        self.alpha_optim.step(loss)
        return loss.detach()

    def _critic_step(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        values = self.critic(batch.features, batch.choice)  # [E, B]
        loss = 0.5 * (values - batch.returns).square().mean(1).sum()
        self.critic_optim.step(loss)
        return loss.detach(), values.detach().mean()

    def _actor_step(self, features: Tensor, noise: Tensor, penalty: Tensor, alpha: Tensor) -> Tensor:
        with frozen(self._actors_critic) as critic:  # the gradient passes through the critics to the actor alone
            loss: Tensor = (alpha * penalty - self._joined(critic(features, noise))).mean()
            self.policy_optim.step(loss)
        return loss.detach()

    def _joined(self, values: Tensor) -> Tensor:
        """Return the smallest value [B] of all critics [E, B]."""
        return values.amin(0)

    @property
    def _actors_critic(self) -> StackedCritics:
        """The critics of noise u that the actor maximises."""
        critic: StackedCritics = self.critic
        return critic


class DSRLSAC(NoiseActorCritic):
    """SAC near the base policy's noise. Replay stores u in [-1, 1], from which its actor can start."""

    plays: Tensor  # [], the index in PLAYS of what evaluations play

    def __init__(self, **parts: Any) -> None:
        """`parts` are those of `NoiseActorCritic`."""
        super().__init__(**parts)
        self.register_buffer("plays", torch.tensor(0))

    @property
    def stochastic(self) -> bool:
        """Whether evaluations draw from the actor, see `NoiseActorCritic.stochastic` and `play`."""
        how = PLAYS[self.plays]
        return super().stochastic if how == "actor" else how == "draws"

    def play(self, how: Played) -> None:
        """Play the actor from now on (its draws until its first step, then its mean), w = 0, or its fresh draws."""
        # in another tensor: a state that was taken before keeps what was played then
        self.plays = torch.tensor(PLAYS.index(how), device=self.plays.device)
        self.policy.needs_draws = how == "draws"

    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors, see `NoiseActorCritic.act`; w = 0 where `play` says so."""
        if PLAYS[self.plays] == "zero":
            return torch.zeros(len(features), *self.policy.action_space.shape)
        return super().act(features, normal)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore a `state_dict`; those of earlier versions play their actor."""
        loaded = super().load_state_dict({"plays": torch.tensor(0)} | dict(state_dict), strict, assign)
        self.play(PLAYS[self.plays])
        return loaded

    def clone(self, buffer: ReplayBuffer, indices: Any, batch_size: int, updates: int) -> list[TrainingStats]:
        """Clone noise that replay stores: `updates` gradient steps of the actor on batches of transitions `indices`."""
        return [cloning_step(self.policy, self.policy_optim, buffer, indices, batch_size) for _ in range(updates)]


def build_dsrl_sac(observation_space: Box, action_space: Box, **options: Unpack[NearPriorOptions]) -> DSRLSAC:
    """Build DSRL-SAC for features `observation_space` [F] and the noise box `action_space` [dim], which give all sizes.

    A number `alpha` fixes the temperature and `auto` tunes it from `initial_alpha` towards `target_kl`, in nats per
    number, or, with `regulariser=entropy`, `target_entropy` (of u, in nats; `auto` is -dim). `reward_scale=auto` is
    fitted to the returns of warm-up. Weights are drawn from torch's global generator. Raises ValueError for values out
    of range.
    """
    return DSRLSAC(**build_parts(observation_space, action_space, action_space.shape[0], options))
