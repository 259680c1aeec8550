"""A point that has to stop at a dock: the smallest task with a seed, a clock and a success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from dsrl.interfaces import Observation, Step


class Dock:
    """Worlds with a point and a dock in [-1, 1]²; the action is a velocity."""

    state_dim = 4  # point, dock
    action_dim = 2
    cameras: Mapping[str, tuple[int, int, int]] = {}
    has_success = True

    def __init__(
        self, num_envs: Annotated[int, Ge(1)], max_steps: Annotated[int, Ge(1)], radius: Annotated[float, Gt(0)]
    ) -> None:
        self.num_envs, self.max_steps, self.radius = num_envs, max_steps, radius
        self.point, self.dock = torch.zeros(num_envs, 2), torch.zeros(num_envs, 2)
        self.elapsed = torch.zeros(num_envs, dtype=torch.int64)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new worlds, each determined by its seed."""
        drawn = [int(torch.randint(2**31, ())) for _ in rows] if seeds is None else seeds
        for row, seed in zip(rows.tolist(), drawn, strict=True):
            places = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
            self.point[row], self.dock[row] = places
        self.elapsed[rows] = 0

    def observe(self) -> Observation:
        """Return point and dock."""
        return Observation(torch.cat([self.point, self.dock], 1), {}, ("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        """Move by a tenth of the action."""
        self.point = self.point + 0.1 * action.clamp(-1, 1)
        self.elapsed += 1
        success = (self.point - self.dock).norm(dim=1) < self.radius
        return Step(success.float(), success, ~success & (self.elapsed >= self.max_steps), success)

    def hold(self) -> Tensor:
        """Return the velocity 0."""
        return torch.zeros(self.num_envs, 2)
