"""Reward centring: what a decision is paid in any case stays out of the critics' targets (after arXiv 2405.09999).

    r' = r - q_end  by a decision at which time runs out,   r - q  by any other

q and q_end are the QUANTILE of such rewards in warm-up. Where no episode terminates, every policy gets the same number
of both kinds, so that leaving them out ranks no policy differently. Left in, values that bootstrap at the time limit
would have to climb to q / (1 - γ) first, many times what noise can change, and q_end would come at a moment that
features do not show. Critics start at 0: with a high quantile rather than the mean that is a good decision's worth, and
what was not tried yet looks no worse than it may be.

Where an episode terminates, a policy decides how often it is paid, and rewards count as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.data import ReplayBuffer
from torch import Tensor, nn

QUANTILE = 0.9
"""The mean gained a quarter less where distances are paid; the largest reward would be an outlier."""

NEGLIGIBLE = 1e-6
"""Rewards that differ from the centre by less, as a share of the largest one, are constant but for rounding."""


class RewardCentre(nn.Module):
    """The centres q and q_end; both are 0 until `fit`, and from the first terminated episode on."""

    values: Tensor  # [2], float64, in the units of rewards

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(2, dtype=torch.float64))
        self._known = (0.0, 0.0)  # the same for NumPy, wherever the learner is

    def fit(self, buffer: ReplayBuffer) -> None:
        """Fit them to the rewards in `buffer`, unless an episode terminates there or nothing would be left."""
        self._set(0.0, 0.0)
        rows = buffer.sample_indices(0)
        if not len(rows) or np.any(buffer.terminated[rows]):
            return
        rewards, at_end = np.asarray(buffer.rew[rows], dtype=np.float64), timed_out(buffer, rows)
        groups = [rewards[~at_end], rewards[at_end]]
        self._set(*(float(np.quantile(group if len(group) else rewards, QUANTILE)) for group in groups))
        if np.abs(self.rewards(buffer, rows)).max() <= NEGLIGIBLE * np.abs(rewards).max():
            self._set(0.0, 0.0)

    def _set(self, usual: float, at_end: float) -> None:
        self._known = usual, at_end
        self.values.copy_(torch.tensor(self._known, dtype=torch.float64))

    def restored(self) -> None:
        """Take over the values that a checkpoint has filled in."""
        usual, at_end = self.values.tolist()
        self._known = usual, at_end

    def outdated(self, buffer: ReplayBuffer) -> bool:
        """Return whether they were fitted, and an episode in `buffer` terminates."""
        return any(self._known) and bool(np.any(buffer.terminated))

    def rewards(self, buffer: ReplayBuffer, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the centred rewards [B] of `rows` [B]."""
        rewards: NDArray[np.float64] = np.asarray(buffer.rew[rows], dtype=np.float64)
        usual, at_end = self._known
        return rewards - np.where(timed_out(buffer, rows), at_end, usual) if usual or at_end else rewards


def timed_out(buffer: ReplayBuffer, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return at which of `rows` [B] an episode ran out of time, also a recorded one: not one that a reset has cut."""
    by_time = buffer.truncated[rows] & ~buffer.terminated[rows] & ~buffer.cut[rows]
    return np.asarray(by_time, dtype=bool)
