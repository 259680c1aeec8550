"""Reward centring: what a decision is paid on average stays out of the critics' targets (arXiv 2405.09999).

    r' = r - m_end  by a decision at which time runs out,   r - m  by any other

m and m_end are means over the warm-up's decisions. Where no episode terminates, every policy gets the same number of
both: leaving them out ranks no policy differently. Left in, values that bootstrap at the time limit would have to climb
to m / (1 - γ) first, many times what actions can change, and m_end would come at a moment that features do not show.

Where an episode terminates, a policy decides how often it is paid, and rewards count as they are.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.data import ReplayBuffer
from torch import Tensor, nn

NEGLIGIBLE = 1e-6
"""Rewards that differ from their means by less, as a share of the largest one, are constant but for rounding."""


@runtime_checkable
class KnowsEpisodes(Protocol):
    """Replay that knows how episodes end."""

    longest_episode: int | None  # decisions until the task's time limit; None for an unknown one
    cut: NDArray[np.bool_]  # [size], rows by which an episode shows no limit: recorded, reset, torn by newer rows


class RewardCentre(nn.Module):
    """The means m and m_end; both are 0 until `fit`, and from the first terminated episode on."""

    means: Tensor  # [2], float64, in the units of rewards

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(2, dtype=torch.float64))

    def fit(self, buffer: ReplayBuffer) -> None:
        """Fit the means to the rewards in `buffer`, unless an episode terminates there or nothing would be left."""
        self.means.zero_()
        rows = buffer.sample_indices(0)
        if not len(rows) or np.any(buffer.terminated[rows]):
            return
        rewards, at_end = np.asarray(buffer.rew[rows], dtype=np.float64), timed_out(buffer, rows)
        groups = [rewards[~at_end], rewards[at_end]]
        means = [float((group if len(group) else rewards).mean()) for group in groups]
        self.means.copy_(torch.tensor(means, dtype=torch.float64))
        if np.abs(self.rewards(buffer, rows)).max() <= NEGLIGIBLE * np.abs(rewards).max():
            self.means.zero_()

    def outdated(self, buffer: ReplayBuffer) -> bool:
        """Return whether the means were fitted, and an episode in `buffer` terminates."""
        return bool(self.means.any()) and bool(np.any(buffer.terminated))

    def rewards(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the centred rewards [B] of `rows` [B]."""
        rewards: NDArray[np.float64] = np.asarray(buffer.rew[rows], dtype=np.float64)
        usual, at_end = self.means.tolist()
        return rewards - np.where(timed_out(buffer, rows), at_end, usual) if usual or at_end else rewards


def timed_out(buffer: ReplayBuffer, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return at which of `rows` [B] an episode ran out of time: not one that was recorded, or cut by a reset."""
    by_time: NDArray[np.bool_] = np.asarray(buffer.truncated[rows] & ~buffer.terminated[rows], dtype=bool)
    return by_time & ~buffer.cut[rows] if isinstance(buffer, KnowsEpisodes) else by_time
