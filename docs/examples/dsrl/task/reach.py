"""A point on a plane that must reach a goal: the smallest task with everything that a task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsrl.interfaces import Observation, Step

NEAR = 0.1  # distance at which the goal counts as reached
SPEED = 0.1  # distance of one control step at full speed


class Reach:
    """`num_envs` points; state: position and goal [B, 4], action: velocity in [-1, 1] [B, 2]."""

    state_dim, action_dim, has_success = 4, 2, True

    def __init__(self, num_envs: int, max_steps: int) -> None:
        """Makes `num_envs` worlds, whose episodes are truncated after `max_steps` control steps."""
        self.num_envs, self.max_steps = num_envs, max_steps
        self.cameras: Mapping[str, tuple[int, int, int]] = {}  # name -> (3, H, W); this task has none
        self._position, self._goal = torch.zeros(num_envs, 2), torch.zeros(num_envs, 2)
        self._elapsed = torch.zeros(num_envs, dtype=torch.int64)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Starts new episodes in `rows`; a seed determines start and goal, whatever the row."""
        drawn = torch.randint(2**31, (len(rows),)).tolist() if seeds is None else seeds
        for row, seed in zip(rows.tolist(), drawn, strict=True):
            numbers = 2 * torch.rand(2, 2, generator=torch.Generator().manual_seed(int(seed))) - 1
            self._position[row], self._goal[row], self._elapsed[row] = numbers[0], numbers[1], 0

    def observe(self) -> Observation:
        """Reads all worlds: state [B, 4], no images, no instruction."""
        return Observation(torch.cat([self._position, self._goal], 1), {}, ("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        """Moves every point by one control step of action [B, 2]."""
        self._position = self._position + SPEED * action.clamp(-1.0, 1.0)
        self._elapsed += 1
        success = (self._position - self._goal).norm(dim=1) < NEAR
        truncated = (self._elapsed >= self.max_steps) & ~success
        return Step(reward=success.float(), terminated=success, truncated=truncated, success=success)

    def hold(self) -> Tensor:
        """Returns the action [B, 2] under which nothing moves."""
        return torch.zeros(self.num_envs, self.action_dim)
