"""The guessing task, and a policy whose chunk is its noise: results can be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, Step


class Guess:
    """A task whose world of seed s has the state s % 10 - 4.5; an action of the same sign is a success.

    Without success an episode is truncated after `max_steps`.
    """

    state_dim, action_dim, has_success = 1, 1, True

    def __init__(self, num_envs: int, max_steps: int = 6) -> None:
        self.num_envs, self.max_steps = num_envs, max_steps
        self.cameras: Mapping[str, tuple[int, int, int]] = {"front": (3, 8, 8)}
        self.target, self.elapsed = torch.zeros(num_envs, 1), torch.zeros(num_envs, dtype=torch.int64)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        assert seeds is not None
        self.target[rows] = torch.tensor([float(seed % 10) - 4.5 for seed in seeds])[:, None]
        self.elapsed[rows] = 0

    def observe(self) -> Observation:
        images = {"front": torch.zeros(self.num_envs, 3, 8, 8, dtype=torch.uint8)}
        return Observation(self.target.clone(), images, ("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        self.elapsed += 1
        success = (action * self.target)[:, 0] > 0
        truncated = (self.elapsed >= self.max_steps) & ~success
        return Step(success.float(), success, truncated, success)

    def hold(self) -> Tensor:
        return torch.zeros(self.num_envs, 1)


class Restless(Guess):
    """The guessing task on a robot that is reset by hand: no seed repeats its state, only the sign."""

    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(seen.state * (1 + torch.rand_like(seen.state)), seen.images, seen.instruction)


class Echo:
    """A policy whose chunk of two actions is its noise."""

    feature_dim, noise_shape, chunk_shape = 1, (2, 1), (2, 1)

    def encode(self, observation: Observation) -> Encoding:
        return Encoding(observation.state, {})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return noise.clone()

    def policy_sha256(self) -> str:
        return "0" * 64
