"""DSRL-NA, noise aliased: values are learnt for chunks and distilled into values for noise (arXiv 2506.15799, alg. 1).

    replay (s, executed chunk a, r, s')  ->  Q^A(s, a)  --- a = π_dp(s, w), w ~ N(0, I) --->  Q^W(s, w/b)  ->  actor

After each round of play, in the order of the published code (the paper's order is Q^A, Q^W, π):

    A, once per update, with û ~ π(s) drawn once and α fixed:
        temperature   L = -mean[log α · (penalty(s) - limit)]
        Q^A           y = clip(c·R + γ^m (1 - terminated) V(s'), bounds)
                      V(s') = min_j Q̄^A_j(s', π_dp(s', b·u'))   or, distilled, min_j Q̄^W_j(s', u')
                      L = ½ Σ_j MSE(Q^A_j(s, a), y)
        actor         L = mean[α penalty(s) - min_j Q^W_j(s, û)]
        polyak        Q̄ <- τ Q + (1 - τ) Q̄
    B, `noise_critic_grad_steps` times on other states, one unclipped w ~ N(0, I) for each:
        Q^W           L = ½ Σ_j MSE(Q^W_j(s, w/b), Q^A_j(s, π_dp(s, w))),  online Q^A, head j to head j

Penalty, limit, R, m, bounds and u' are those of DSRL-SAC; where targets hold draws, Q^A takes u (in B, w/b) besides a,
which does not tell how far the decisions after it deviate. With `sac.regulariser=entropy` the target contains
-α log π(ũ'|s') and is not bounded, as published. B draws w anew, as published, or among `base_draws` whose chunks were
decoded once, when the state was stored. The distilled V(s') goes with those: no update denoises anything then, and
replay stores no states. It is not of the paper. Chunks without noise, of demonstrations, deviate by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.interfaces import Decoder, Encoding, Replay
from dsrl.sac._networks import FeatureScaler, StackedCritics
from dsrl.sac._options import NAOptions, Targets
from dsrl.sac._parts import build_na_parts
from dsrl.sac.dsrl_sac import DSRLSAC

DISTILLATIONS = 3
"""Steps of B for each of A, where no number is set: the actor follows Q^W, which must rank noise at each state."""


@dataclass(kw_only=True)
class DistillationStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one distillation step, still tensors."""

    distillation_loss: Tensor


class DSRLNA(DSRLSAC):
    """DSRL-SAC with critics of executed chunks; the actor maximises critics of noise that are distilled from them."""

    def __init__(
        self,
        *,
        noise_critics: StackedCritics,
        chunk_scaler: FeatureScaler,
        decoder: Decoder,
        replay: Replay,
        noise_critic_grad_steps: int | None,
        base_draws: int,
        targets: Targets,
        **parts: Any,
    ) -> None:
        """`critics` value chunks, flat and scaled by `chunk_scaler`; `noise_critics` value u.

        `parts` are those of `NoiseActorCritic`; see `build_dsrl_na`.
        """
        super().__init__(**parts)
        self.base_draws, self.distilled = base_draws, targets == "distilled"
        self.replay: Replay = "chunks" if self.distilled else replay
        self.noise_critic, self.chunk_scaler, self.decoder = noise_critics, chunk_scaler, decoder
        self.noise_critic_optim = self._create_optimizer(noise_critics, parts["optimisers"][1])
        self.noise_critic_grad_steps = noise_critic_grad_steps
        if self.distilled:
            self.noise_critic_old = self._add_lagged_network(noise_critics)

    def warm_up(self, buffer: ReplayBuffer, batch_size: int) -> list[TrainingStats]:
        """Warm up as DSRL-SAC does, and distil for as many steps: the actor's first step follows both critics."""
        stats = super().warm_up(buffer, batch_size)
        return stats if self.distilled else stats + self._distil(buffer, batch_size, self.critic_warmup_updates)

    def learn(self, buffer: ReplayBuffer, batch_size: int, updates: int) -> list[TrainingStats]:
        """Learn after a round of play: A `updates` times, then B as often as is set, if any A is due."""
        stats = super().learn(buffer, batch_size, updates)
        steps = DISTILLATIONS * updates if self.noise_critic_grad_steps is None else self.noise_critic_grad_steps
        return stats + self._distil(buffer, batch_size, steps if updates else 0)

    @torch.no_grad()
    def chunk_values(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        """Return online Q^A_j(s, π_dp(s, w)) [E, B] at an encoding [B] and noise vectors w [B, dim]."""
        chunk = self._tensor(self.decoder.decode(encoding, vectors))
        features, noise = self.policy.standardise(encoding.features), self._tensor(vectors) / self.policy.magnitude
        values: Tensor = self.critic(features, self._valued(chunk, noise))
        return values

    @torch.no_grad()
    def noise_values(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Return Q^W_j(s, w/b) [E, B] for raw features [B, F] and noise vectors w [B, dim]."""
        scaled = self.policy.standardise(features)
        values: Tensor = self.noise_critic(scaled, self._tensor(vectors) / self.policy.magnitude)
        return values

    def _warm_up_step(self, buffer: ReplayBuffer, batch_size: int) -> list[TrainingStats]:
        stats = super()._warm_up_step(buffer, batch_size)
        return stats + self._distil(buffer, batch_size, 1 if self.distilled else 0)

    def _distil(self, buffer: ReplayBuffer, batch_size: int, steps: int) -> list[TrainingStats]:
        return [
            DistillationStats(distillation_loss=self._distillation_step(buffer, buffer.sample_indices(batch_size)))
            for _ in range(steps)
        ]

    def _distillation_step(self, buffer: ReplayBuffer, indices: Any) -> Tensor:
        features = self._tensor(buffer.obs[indices])
        with torch.no_grad():
            vectors, chunk = self._drawn(features, buffer, indices)
        (loss,) = self.recordings.run(self._distilled, features, vectors, self._tensor(chunk))
        return loss

    def _distilled(self, features: Tensor, vectors: Tensor, chunk: Tensor) -> tuple[Tensor]:
        """Take a step of B on raw features [B, F], w [B, dim] and its chunks [B, horizon, A]; returns the loss."""
        scaled = self.policy.standardise(features)
        with torch.no_grad():
            targets = self.critic(scaled, self._valued(chunk, vectors / self.policy.magnitude))
        values = self.noise_critic(scaled, vectors / self.policy.magnitude)
        loss: Tensor = 0.5 * (values - targets).square().mean(1).sum()
        self.noise_critic_optim.step(loss)
        return (loss.detach(),)

    def _drawn(self, features: Tensor, buffer: ReplayBuffer, indices: Any) -> tuple[Tensor, Tensor]:
        """Return one w ~ N(0, I) [B, dim] for each state and its chunk [B, horizon, A]: stored ones, or fresh ones."""
        if self.base_draws:
            which = torch.randint(self.base_draws, (len(features),)).numpy()
            info = buffer.info
            return self._tensor(info.draws[indices, which]), self._tensor(info.draw_chunks[indices, which])
        vectors = torch.randn(len(features), self.policy.action_space.shape[0], device=features.device)
        return vectors, self.decoder.decode_replayed(features, buffer.info, "before", indices, vectors)

    def _choice(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return the critics' input besides features for executed chunks and their u."""
        chunk = self._tensor(buffer.info.chunk[rows])
        if not self.policy.holds_targets:
            return self._flat(chunk)
        return self._valued(chunk, self.policy.known(buffer.obs[rows], self._tensor(buffer.act[rows])))

    def _valued(self, chunk: Tensor, noise: Tensor) -> Tensor:
        """Return chunks flat and scaled [B, horizon·A], and u [B, dim] besides where targets hold its deviation."""
        flat = self._flat(chunk)
        return torch.cat([flat, noise], dim=-1) if self.policy.holds_targets else flat

    @torch.no_grad()
    def _next_value(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return the soft value [B] of the states after `rows`: target Q^W of the actor's noise, or Q^A of its chunk.

        States after a termination are not denoised, which saves work: their value is multiplied by zero. Of replay's
        contexts, only those of the others are copied.
        """
        features = self._tensor(buffer.obs_next[rows])
        scaled = self.policy.standardise(features)
        drawn = self._next_draw(scaled, buffer, rows)
        if self.distilled:
            return self._joined(self.noise_critic_old(scaled, drawn.noise)) - self._backup_penalty(scaled, drawn)
        value: Tensor = torch.zeros_like(drawn.log_prob) - self._backup_penalty(scaled, drawn)
        on = np.flatnonzero(~np.asarray(buffer.terminated[rows], dtype=bool))
        if len(on):
            vectors = self.policy.magnitude * drawn.noise[on]
            chunk = self.decoder.decode_replayed(features[on], buffer.info, "after", rows[on], vectors)
            value[on] += self._chunk_value(scaled[on], chunk, drawn.noise[on])
        return value

    def _chunk_value(self, features: Tensor, chunk: Tensor, noise: Tensor) -> Tensor:
        """Return the target critics' value [n] of the chunks that follow and their u, at standardised features."""
        return self._joined(self.critic_old(features, self._valued(chunk, noise)))

    @property
    def _actors_critic(self) -> StackedCritics:
        return self.noise_critic

    def _fit_scaling(self, buffer: ReplayBuffer, indices: Any) -> None:
        super()._fit_scaling(buffer, indices)
        self.chunk_scaler.fit(self._tensor(buffer.info.chunk[indices]).flatten(1))

    def _flat(self, chunk: Tensor) -> Tensor:
        scaled: Tensor = self.chunk_scaler(chunk.flatten(1))
        return scaled


def build_dsrl_na(
    observation_space: Box,
    action_space: Box,
    *,
    decoder: Decoder,
    chunk_shape: tuple[int, int],
    **options: Unpack[NAOptions],
) -> DSRLNA:
    """Build DSRL-NA for features [F], the noise box [dim] and executed chunks of `chunk_shape` (horizon, A).

    `decoder` decodes noise at live and replayed states; `targets` selects V(s'); `base_draws` is the number of base
    noises whose chunks are decoded when a state is stored; `replay` selects the data that is stored of a state where
    updates decode (see `dsrl.interfaces.Replay`). See `build_dsrl_sac` for others. Raises ValueError for values out of
    range.
    """
    parts = build_na_parts(observation_space, action_space, decoder=decoder, chunk_shape=chunk_shape, **options)
    return DSRLNA(**parts)
