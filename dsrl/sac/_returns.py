"""Returns of the play in replay: sums of the next rewards, their size, and the bounds that no value may leave.

    n-step return  R = Σ_{k<m} γ^k r_k,  m = n or fewer where the episode or the play ends; then γ^m V(s_m) follows

centre         r stands for r - q where no episode terminates and no scale is given, see `dsrl.sac._reward_centre`
reward scale   c = 5 / max |G|,  G = Σ_k γ^k r_k over the warm-up's episodes     learning does not depend on units
bounds         r > 0 only where it terminates: Q <= c max r       else: Q <= c max r / (1 - γ)     below alike
discount       success alone is paid: γ^T <= its share at the time limit, T the longest warm-up episode that met it,
               or the task's limit where none did

Where warm-up has no reward, scale and discount are fitted to the first rewards of the play.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.data import ReplayBuffer
from torch import Tensor, nn

from dsrl.sac._options import Auto
from dsrl.sac._reward_centre import RewardCentre


@dataclass(frozen=True)
class Following:
    """The next decisions of a batch, up to n of them."""

    rewards: NDArray[np.float64]  # [B], discounted and summed
    discounts: NDArray[np.float64]  # γ^m [B] of the value that follows
    last: NDArray[np.int64]  # [B], the index of the last of them


@dataclass(frozen=True)
class Transitions:
    """A batch of replay, as the gradient step takes it."""

    features: Tensor  # [B, F], standardised
    choice: Tensor  # [B, C], the critics' other input
    returns: Tensor  # [B], the critics' targets


LARGEST = 5.0
"""Size of the largest return in the critics' units: that of the layers' outputs, and of a success under c = 5."""


UNBOUNDED = float(np.finfo(np.float64).max)
"""A limit that no return reaches, and a finite one, as all that a checkpoint has must be."""


OUTGROWN = (10.0, 1e6)
"""A reward that is so many times the largest return that the scale was fitted to makes it be fitted anew.

One of more is a fault: all others would count for nothing beside it.
"""


class RewardScale(nn.Module):
    """The factor c of centred rewards in the critics' targets, fitted to the warm-up's returns; or a given number of
    rewards as they are.
    """

    value: Tensor
    seen: Tensor  # [], whether there was a reward that is not zero

    def __init__(self, scale: float | Auto) -> None:
        """`scale` auto is fitted; until then, and while all rewards are zero, it is that of rewards up to 1."""
        super().__init__()
        self.fitted = scale == "auto"
        self.register_buffer("value", torch.tensor(LARGEST if scale == "auto" else scale))
        self.register_buffer("seen", torch.tensor(False))
        self.centre = RewardCentre()

    def fit(self, buffer: ReplayBuffer, gamma: float) -> None:
        """Fit centre and scale, where no scale was given, to the returns in `buffer`."""
        if self.fitted:
            self.centre.fit(buffer)
        largest = float(np.abs(returns_to_go(buffer, gamma, self.centre)).max(initial=0.0))
        if largest > 0:
            self.seen.fill_(True)
            if self.fitted:
                self.value.fill_(LARGEST / largest)

    def refit(self, buffer: ReplayBuffer, gamma: float) -> None:
        """Fit both again where an episode terminates for the first time, or a reward is far above all that they knew.

        Such as a success after shaping.
        """
        if not self.fitted:
            return
        rewards = self.centre.rewards(buffer, buffer.sample_indices(0))
        times = float(self.value) * np.abs(rewards).max(initial=0.0) / LARGEST
        if self.centre.outdated(buffer) or OUTGROWN[0] < times <= OUTGROWN[1]:
            self.fit(buffer, gamma)


class Bounds(nn.Module):
    """The smallest and the largest discounted return that the rewards so far can add up to: they never narrow."""

    limits: Tensor  # [2], float64, in the units of rewards

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("limits", torch.zeros(2, dtype=torch.float64))

    def widen(self, buffer: ReplayBuffer, gamma: float, centre: RewardCentre) -> None:
        """Take in the centred rewards in `buffer`, which forgets its oldest."""
        low, high = bounds(buffer, gamma, centre)
        widest = [min(low, float(self.limits[0])), max(high, float(self.limits[1]))]
        self.limits.copy_(torch.tensor(widest, dtype=torch.float64))

    def scaled(self, scale: Tensor) -> tuple[float, float]:
        """Return both in the critics' units, as `scale` [] says."""
        low, high = (scale.cpu() * self.limits.cpu()).float().tolist()
        return low, high


def following(
    buffer: ReplayBuffer, indices: NDArray[np.int64], steps: int, gamma: float, centre: RewardCentre
) -> Following:
    """Sum centred rewards of `indices` [B] and of the decisions after them, `steps` in all within the episode."""
    at: NDArray[np.int64] = np.array(indices)
    going = np.ones(len(at), dtype=bool)
    rewards: NDArray[np.float64] = np.zeros(len(at))
    discounts: NDArray[np.float64] = np.ones(len(at))
    last = at
    for step in range(steps):
        rewards = rewards + np.where(going, discounts * centre.rewards(buffer, at), 0.0)
        discounts, last = np.where(going, gamma * discounts, discounts), np.where(going, at, last)
        if step + 1 < steps:
            after = buffer.next(at)  # the decision itself where its episode or the play ends
            going, at = going & (after != at), after
    return Following(rewards, discounts, last)


def returns_to_go(buffer: ReplayBuffer, gamma: float, centre: RewardCentre) -> NDArray[np.float64]:
    """Return the discounted centred return [N] from each transition to the end of its episode, or of the play."""
    indices = buffer.sample_indices(0)
    returns = centre.rewards(buffer, indices).copy()
    ends = _last_of_episodes(buffer, indices)
    for row in range(len(indices) - 2, -1, -1):
        if not ends[row]:
            returns[row] += gamma * returns[row + 1]
    return returns


def bounds(buffer: ReplayBuffer, gamma: float, centre: RewardCentre) -> tuple[float, float]:
    """Return the smallest and largest discounted return that rewards like those in `buffer` can add up to."""
    rows = buffer.sample_indices(0)
    rewards, terminated = centre.rewards(buffer, rows), np.asarray(buffer.terminated[rows], dtype=bool)
    return -_largest(-rewards, terminated, gamma), _largest(rewards, terminated, gamma)


def limited_discount(buffer: ReplayBuffer, gamma: float, at_limit: float) -> float:
    """Return `gamma`, or less: the discount whose T-th power is `at_limit`, T the decisions to the time limit.

    A success in the last of them, decision T, then counts gamma^(T-1) of one at once.

    Lowered only where there are rewards, none is negative and none is above 0 but where an episode terminates, so that
    running out of time is a failure. The time limit is the longest episode in `buffer` that ran out of time, or the
    task's where none has yet. Recorded episodes, those that a reset of the worlds has cut, and those whose first rows
    `buffer` has overwritten show no limit.
    """
    rewards = np.asarray(buffer.rew)
    paid = rewards > 0
    success_alone = (rewards >= 0).all() and paid.any() and np.asarray(buffer.terminated, dtype=bool)[paid].all()
    limit = _longest_time_out(buffer) or buffer.longest_episode
    return min(gamma, float(at_limit ** (1.0 / limit))) if success_alone and limit else gamma


def _longest_time_out(buffer: ReplayBuffer) -> int:
    """Return the number of decisions of the longest episode in `buffer` that ran out of time; 0 without any."""
    indices = buffer.sample_indices(0)
    ends = np.flatnonzero(_last_of_episodes(buffer, indices))
    by_time = np.asarray(buffer.truncated[indices[ends]], dtype=bool)
    if len(ends):
        by_time &= ~np.logical_or.reduceat(buffer.incomplete[indices], np.append(0, ends[:-1] + 1))
    return int(np.diff(ends, prepend=-1)[by_time].max(initial=0))


def _last_of_episodes(buffer: ReplayBuffer, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of all `indices` [N], in their order, are the last of their episode or of a world's play so far."""
    return np.asarray(buffer.done[indices], dtype=bool) | np.isin(indices, buffer.last_index)


def _largest(rewards: NDArray[np.float64], terminated: NDArray[np.bool_], gamma: float) -> float:
    paid = rewards > 0
    if not paid.any():
        return 0.0
    most = float(rewards[paid].max())
    if terminated[paid].all():
        return most
    return most / (1.0 - gamma) if gamma < 1.0 else UNBOUNDED
