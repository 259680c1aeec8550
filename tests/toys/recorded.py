"""A task whose pictures and states depend on its seed, its control step and its actions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsrl.interfaces import Observation, Step


class Recorded:
    """The state is the sum of all actions; the picture is noise of (seed, control step). Nothing ever ends early."""

    state_dim, action_dim, max_steps, has_success, num_envs = 2, 2, 40, False, 2

    def __init__(self, side: int) -> None:
        self.cameras: Mapping[str, tuple[int, int, int]] = {"front": (3, side, side)}
        self.seeds, self.taken = [0] * self.num_envs, 0
        self.sum = torch.zeros(self.num_envs, 2)
        self.actions: list[Tensor] = []

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        assert seeds is not None
        self.seeds, self.taken = list(seeds), 0
        self.sum = torch.zeros(self.num_envs, 2)

    def observe(self) -> Observation:
        pictures = [
            torch.randint(
                256,
                self.cameras["front"],
                generator=torch.Generator().manual_seed(1000 * seed + self.taken),
                dtype=torch.uint8,
            )
            for seed in self.seeds
        ]
        return Observation(self.sum.clone(), {"front": torch.stack(pictures)}, ("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        self.actions.append(action.clone())
        self.sum = self.sum + 0.1 * action
        self.taken += 1
        no = torch.zeros(self.num_envs, dtype=torch.bool)
        return Step(action[:, 0].clone(), no, no.clone(), None)

    def hold(self) -> Tensor:
        return torch.zeros(self.num_envs, self.action_dim)
