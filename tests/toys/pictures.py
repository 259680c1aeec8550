"""A task of random pictures for the tiny SmolVLA checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsrl.interfaces import Observation, Step
from toys.tiny_smolvla import IMAGE_SIZE


class Pictures:
    """A task whose every observation has another random picture and whose episodes are truncated after 8 steps."""

    state_dim, action_dim, max_steps, has_success = 5, 4, 8, False
    cameras: Mapping[str, tuple[int, int, int]] = {"front": (3, IMAGE_SIZE, IMAGE_SIZE)}

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.elapsed = torch.zeros(num_envs, dtype=torch.int64)
        self.generator = torch.Generator().manual_seed(0)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        self.elapsed[rows] = 0

    def observe(self) -> Observation:
        shape = (self.num_envs, *self.cameras["front"])
        images = {"front": torch.randint(256, shape, generator=self.generator, dtype=torch.uint8)}
        instruction = ("pick up the red cube",) * self.num_envs
        return Observation(torch.randn(self.num_envs, 5, generator=self.generator), images, instruction)

    def step(self, action: Tensor) -> Step:
        self.elapsed += 1
        ended = self.elapsed >= self.max_steps
        return Step(action[:, 0].clone(), torch.zeros_like(ended), ended, None)

    def hold(self) -> Tensor:
        return torch.zeros(self.num_envs, self.action_dim)
