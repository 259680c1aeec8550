"""DSRL-NA with an edit head: a small residual on the decoded chunk, and Q^A chooses among the chunk and its edits.

    noise -> π_dp(s, w) = a  ->  candidates a, a + e(s, a), …  ->  argmax by min_j Q^A_j(s, ·)  ->  task, replay

    e(s, a) = reach · tanh(m(s, a) + σ ε),  ε = 0 in evaluations and targets; clipped to the task's actions

One gradient step, after that of DSRL-NA (whose step B, the noise critic's, remains as it is):

    Q^A           y = clip(c·R + γ^m (1 - terminated) max(min_j Q̄^A_j(s', a'), min_j Q̄^A_j(s', a' + e(s', a'))), bounds)
    temperature   L = -mean[log β · (penalty(s, a) - edit_kl)],  penalty = KL(N(m, σ²) ‖ N(0, σ²)) / (h·A)
    edit          L = mean[β penalty(s, a) - min_j Q^A_j(s, a + e(s, a))],  ε ~ N(0, I)

Replay stores the executed chunk, edited or not. The chunk a of the edit's loss is the executed one or, for half of the
states, a chunk of the base policy's noise that replay stores (`base_draws`). m = 0 before the first step and ε = 0
unless in training, so that evaluations start at the base policy. From EXPO and EXPO-FT (arXiv 2507.07986, 2605.25477),
whose noise is the base policy's, and RFS (arXiv 2602.01789), which steers noise beside the residual, as here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le
from gymnasium.spaces import Box
from numpy.typing import NDArray
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.interfaces import Decoder, Encoding
from dsrl.sac._edit_policy import EditHead, build_edit_head
from dsrl.sac._networks import Temperature, frozen
from dsrl.sac._options import NAOptions, Positive
from dsrl.sac._parts import build_na_parts
from dsrl.sac._regulariser import Divergence
from dsrl.sac._stats import SACStats
from dsrl.sac.dsrl_na import DSRLNA


@dataclass(kw_only=True)
class EditStats(SACStats):
    """Scalars of one update, still tensors."""

    edit_loss: Tensor
    edit_penalty: Tensor
    edit_alpha: Tensor  # β


class DSRLEdit(DSRLNA):
    """DSRL-NA whose chunks are edited by a head that climbs the critics of chunks."""

    def __init__(
        self, *, head: EditHead, edit_temperature: Temperature, edit_kl: float, edit_draws: int, **parts: Any
    ) -> None:
        """`parts` are those of `DSRLNA`; their optimisers of actor and temperature serve the edits too."""
        super().__init__(**parts)
        actor_optim, _, alpha_optim = parts["optimisers"]
        self.head, self.edit_temperature, self.edit_draws = head, edit_temperature, edit_draws
        self.edit_divergence = Divergence(head.log_std, edit_kl)
        self.head_optim = self._create_optimizer(head, actor_optim)
        self.edit_alpha_optim = self._create_optimizer(edit_temperature, alpha_optim)

    @torch.no_grad()
    def edit(self, encoding: Encoding, chunk: Tensor) -> Tensor:
        """Return the best of the chunk and its edits by the smallest value of the online critics [n, h, A].

        Candidates are the chunk [n, h, A], its edit and, within a training step, `edit_draws` drawn edits.
        """
        features, plain = self.policy.standardise(encoding.features), self._tensor(chunk)
        mean = self.head(features, self._flat(plain))
        draws = self.edit_draws if self.policy.is_within_training_step else 0
        edits = [self.head.applied(plain, mean, torch.randn_like(mean)) for _ in range(draws)]
        candidates = torch.stack([plain, self.head.applied(plain, mean), *edits])  # [C, n, h, A]
        values = torch.stack([self._joined(self.critic(features, self._flat(one))) for one in candidates])
        best = candidates[values.argmax(0), torch.arange(len(plain), device=plain.device)]
        return best.to(chunk)

    def _fit_scaling(self, buffer: ReplayBuffer, indices: Any) -> None:
        super()._fit_scaling(buffer, indices)
        self.head.fit(self._tensor(buffer.info.chunk[indices]))

    def _chunk_value(self, features: Tensor, chunk: Tensor, noise: Tensor) -> Tensor:
        edited = self.head.applied(chunk, self.head(features, self._flat(chunk)))
        return super()._chunk_value(features, chunk, noise).maximum(super()._chunk_value(features, edited, noise))

    def update(self, buffer: ReplayBuffer, sample_size: int | None) -> EditStats:
        """Take one gradient step of DSRL-NA, and one of the edits at the same states."""
        rows = buffer.sample_indices(sample_size)
        batch = self._transitions(buffer, rows)
        stats = self.recordings.run_for_stats(self._update_with_batch, batch)
        given = {field.name: getattr(stats, field.name) for field in fields(SACStats) if field.init}
        edited = self.recordings.run(self._edit_step, batch.features, self._edited_chunks(buffer, rows))
        return EditStats(**given, **dict(zip(("edit_loss", "edit_penalty", "edit_alpha"), edited, strict=True)))

    def _edited_chunks(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> Tensor:
        """Return chunks [B, h, A] to edit: the executed ones, half of them replaced by chunks of base noise."""
        chunk = self._tensor(buffer.info.chunk[rows])
        if not self.base_draws:
            return chunk
        which = torch.randint(self.base_draws, (len(chunk),))
        drawn = self._tensor(buffer.info.draw_chunks[rows, which.numpy()])
        return torch.where((torch.rand(len(chunk)) < 0.5).to(chunk.device)[:, None, None], drawn, chunk)

    def _edit_step(self, features: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take a step of the edits' temperature and of the edits; returns loss, penalty and β."""
        mean, alpha = self.head(features, self._flat(chunk)), self.edit_temperature.value
        penalty = self.edit_divergence.penalty(mean, torch.full_like(mean, self.head.log_std), mean)
        excess = penalty.detach() - self.edit_divergence.limit
        self.edit_alpha_optim.step(-(self.edit_temperature.log_alpha * excess).mean())
        edited = self.head.applied(chunk, mean, torch.randn_like(mean))
        with frozen(self.critic) as critic:  # the gradient passes through the critics to the edits alone
            loss = (alpha * penalty - self._joined(critic(features, self._flat(edited)))).mean()
            self.head_optim.step(loss)
        return loss.detach(), penalty.detach().mean(), alpha


def build_dsrl_edit(
    observation_space: Box,
    action_space: Box,
    *,
    decoder: Decoder,
    chunk_shape: tuple[int, int],
    action_bounds: tuple[Tensor, Tensor] | None,
    edit_scale: Annotated[float, Ge(1e-9), Le(10)],
    edit_noise: Annotated[float, Ge(1e-9), Le(2)],
    edit_kl: Positive,
    edit_draws: Annotated[int, Ge(0), Le(1024)],
    **options: Unpack[NAOptions],
) -> DSRLEdit:
    """Build DSRL-NA with an edit head; see `build_dsrl_na` for the options that it shares.

    `edit_scale` bounds edits, in standard deviations of the base policy's chunks; `edit_noise` is σ, before tanh;
    `edit_kl` is the divergence of edits towards which their temperature is tuned, in nats per number; `edit_draws` is
    the number of drawn edits among which training chooses. `action_bounds` are the least and greatest actions [A].
    Raises ValueError for values out of range.
    """
    for name, value in (("edit_scale", edit_scale), ("edit_noise", edit_noise), ("edit_kl", edit_kl)):
        if not value > 0:
            raise ValueError(f"sac.{name}={value} must be above 0; sac=dsrl_na edits nothing")
    if options["targets"] != "decoded":
        raise ValueError(f"sac.targets={options['targets']} would value no edits; type sac.targets=decoded")
    if options["target_draws"] != "fresh":
        raise ValueError(
            f"sac.target_draws={options['target_draws']}: critics of edits know no noise; type sac.target_draws=fresh"
        )
    parts = build_na_parts(observation_space, action_space, decoder=decoder, chunk_shape=chunk_shape, **options)
    head = build_edit_head(
        observation_space.shape[0],
        chunk_shape,
        hidden=options["hidden"],
        depth=options["depth"],
        activation=options["activation"],
        scale=edit_scale,
        noise=edit_noise,
        bounds=action_bounds,
    )
    return DSRLEdit(
        **parts,
        head=head,
        edit_temperature=Temperature(options["initial_alpha"], trainable=True),
        edit_kl=edit_kl,
        edit_draws=edit_draws,
    )
