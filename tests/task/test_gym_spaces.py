"""A world that samples spaces continues exactly after it was saved; one that writes into its class is not saved."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dsrl.run.saved.checkpoint import read_checkpoint, write_checkpoint
from dsrl.task.gym import GymTask


def unit() -> spaces.Box:
    return spaces.Box(-1, 1, (1,))


NOISES = {
    "box": unit,
    "dictionary": lambda: spaces.Dict({"x": unit(), "deep": spaces.Tuple((spaces.Discrete(9), unit()))}),
    "sequence": lambda: spaces.Sequence(unit()),
}


class Noisy(gymnasium.Env):
    """Is paid a sample of a space, and may count its steps in its class."""

    observation_space = action_space = unit()
    total, history = 0, np.zeros(1)

    def __init__(self, noise: str = "box", counts: str = "") -> None:
        self.noise: Any = NOISES[noise]()
        self.counts = counts

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.noise.seed(seed)
        type(self).total = self.history[0] = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        type(self).total += self.counts == "number"
        self.history[0] += self.counts == "array"
        sampled = crc32(repr(self.noise.sample()).encode()) / 2**32
        return action, sampled + self.total + self.history[0], False, False, {"is_success": False}


gymnasium.register("dsrl-test/Noisy-v0", entry_point=Noisy)


def begun(**env_kwargs: str) -> GymTask:
    task = GymTask("dsrl-test/Noisy-v0", num_envs=2, max_steps=30, env_kwargs=env_kwargs)
    task.reset(torch.arange(2), seeds=[3, 4])
    return task


def paid(task: GymTask) -> torch.Tensor:
    return torch.stack([task.step(task.hold()).reward for _ in range(3)])


@pytest.mark.parametrize("noise", NOISES)
def test_generators_of_spaces_continue_where_they_were(noise, tmp_path):
    first, second = begun(noise=noise), begun(noise=noise)
    paid(first)
    write_checkpoint(tmp_path, first.state_dict())
    undisturbed = paid(first)
    second.load_state_dict(read_checkpoint(tmp_path))
    assert torch.equal(paid(second), undisturbed)
    assert undisturbed.unique().numel() == 6


@pytest.mark.parametrize("counts", ["number", "array"])
def test_worlds_that_count_in_their_class_are_not_saved(counts):
    task = begun(counts=counts)
    paid(task)
    assert task.state_dict() is None
