"""Cuts a recorded episode into chunks: where it ends, and whether it succeeds.

An episode is used up to its termination: the first `next.success`; without that column, or where nothing succeeds and
`next.truncated` tells failures from the end of the time, the first `next.done`; without either, its last frame, as a
demonstration that reaches its goal. `next.truncated` turns any end but a success into a truncation. Rewards are
`next.reward`, else 1 at the goal. A `next.done` without `next.success` may be a fall as well: it is a success where the
task has a criterion of success and pays a reward there. The last chunk of an episode is padded with its last action,
and a truncation bootstraps from the last frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrl.training.lerobot_columns import ACTION, DONE, REWARD, SUCCESS, TRUNCATED

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ChunkTransition:
    """One chunk of an episode with the frames before and after it."""

    before: int  # frame
    after: int  # frame; at termination, the same as before
    chunk: NDArray[np.float32]  # [horizon, A]
    reward: float
    terminated: bool
    truncated: bool
    success: bool  # of the episode, which ends here
    env_steps: int


def cut_episode(columns: Columns, horizon: int, first: int = 0, has_success: bool = True) -> list[ChunkTransition]:
    """Cut one episode of L frames, whose first frame is number `first` of its dataset, into chunks.

    `has_success` is whether the task has a success criterion.
    """
    actions = columns[ACTION].astype(np.float32).reshape(len(columns[ACTION]), -1)  # [L, A]
    ended, terminates = _end(columns, len(actions))
    goal = terminates and (SUCCESS not in columns or bool(columns[SUCCESS].reshape(-1)[ended]))
    rewards = columns[REWARD].reshape(-1) if REWARD in columns else np.eye(1, len(actions), ended)[0] * goal
    transitions = []
    for start in range(0, ended + 1, horizon):
        stop = min(start + horizon, ended + 1)
        chunk = actions[np.minimum(np.arange(start, start + horizon), stop - 1)]
        last = stop == ended + 1
        terminated = last and terminates
        after = start if terminated else min(stop, len(actions) - 1)
        reward = float(rewards[start:stop].sum())
        ends = terminated, last and not terminates, terminated and _succeeds(columns, ended, has_success)
        transitions.append(ChunkTransition(first + start, first + after, chunk, reward, *ends, stop - start))
    return transitions


def _end(columns: Columns, length: int) -> tuple[int, bool]:
    """Return the last frame of an episode, and whether it terminates there."""
    told = [name for name in (SUCCESS, DONE) if name in columns]
    if not told:
        return length - 1, True
    if TRUNCATED not in columns:
        told = told[:1]  # nothing tells a failure that ends an episode from the end of its time
    name = next((name for name in told if columns[name].any()), told[0])
    ends = np.flatnonzero(columns[name].reshape(-1))
    if not len(ends):
        return length - 1, False
    truncated = TRUNCATED in columns and bool(columns[TRUNCATED].reshape(-1)[ends[0]])
    return int(ends[0]), name == SUCCESS or not truncated


def _succeeds(columns: Columns, ended: int, has_success: bool) -> bool:
    """Return whether an episode that terminates at frame `ended` succeeds."""
    if SUCCESS in columns:
        return bool(columns[SUCCESS].reshape(-1)[ended])
    if DONE not in columns:
        return True
    return has_success and (REWARD not in columns or bool(columns[REWARD].reshape(-1)[ended] > 0))
