"""The countdown task, and a policy that adds the elapsed steps to its noise: every number can be computed by hand.

The world of seed s succeeds at control step `s % 10`, or is truncated at `max_steps` if that comes first. Its state is
(seed, steps taken); the reward of a step is the first number of its action. The action (-7, -7) holds still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsrl.interfaces import Encoding, Observation, Step

HOLD = -7.0


class CountdownTask:
    has_success = True
    state_dim = 2
    action_dim = 2
    cameras: Mapping[str, tuple[int, int, int]] = {}

    def __init__(self, num_envs: int, max_steps: int = 6) -> None:
        self.num_envs, self.max_steps = num_envs, max_steps
        self.seed = torch.zeros(num_envs, dtype=torch.int64)
        self.taken = torch.zeros(num_envs, dtype=torch.int64)
        self.num_observed = 0
        self.actions: list[Tensor] = []

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        self.seed[rows] = self.seed[rows] + 1 if seeds is None else torch.tensor(list(seeds))
        self.taken[rows] = 0

    def observe(self) -> Observation:
        self.num_observed += 1
        return Observation(torch.stack([self.seed, self.taken], 1).float(), {}, ("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        self.actions.append(action.clone())
        still = action[:, 0] == HOLD
        self.taken += (~still).long()
        terminated = self.taken == self.seed % 10
        return Step(action[:, 0].clone(), terminated, self.taken >= self.max_steps, terminated.clone())

    def hold(self) -> Tensor:
        return torch.full((self.num_envs, 2), HOLD)


class RestorableCountdown(CountdownTask):
    """The countdown with a state that can be saved and restored in mid-episode."""

    def state_dict(self) -> dict[str, Tensor]:
        return {"seed": self.seed.clone(), "taken": self.taken.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.seed, self.taken = state["seed"].clone(), state["taken"].clone()


class EchoPolicy:
    """Features are the state, the chunk is the noise plus the number of steps taken (the context)."""

    feature_dim = 2
    noise_shape = (4, 2)
    chunk_shape = (4, 2)

    def encode(self, observation: Observation) -> Encoding:
        return Encoding(observation.state, {"taken": observation.state[:, 1]})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return noise + encoding.context["taken"][:, None, None]
