"""A batch of worlds of which some were never reset: an evaluation may play fewer episodes than there are worlds."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import base_noise
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.identity import IdentityPolicy
from dsrl.task.gym import GymTask


class White(gymnasium.Env[Any, Any]):
    """A number and a white picture."""

    observation_space = Dict({"number": Box(-9, 9, (1,), np.float32), "front": Box(0, 255, (4, 6, 3), np.uint8)})
    action_space = Box(-1, 1, (1,), np.float32)

    def _seen(self) -> dict[str, Any]:
        return {"number": np.ones(1, np.float32), "front": np.full((4, 6, 3), 255, np.uint8)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._seen(), 1.0, False, False, {"is_success": False}


gymnasium.register("dsrl-test/White-v0", entry_point=White)


def test_images_of_worlds_that_were_never_reset_are_black() -> None:
    task = GymTask("dsrl-test/White-v0", num_envs=4, max_steps=3)
    task.reset(torch.tensor([2, 0]), seeds=[5, 6])
    seen = task.observe()
    assert seen.images["front"].shape == (4, 3, 4, 6)
    assert seen.images["front"].flatten(1).float().mean(1).tolist() == [255, 0, 255, 0]
    assert seen.state.tolist() == [[1], [0], [1], [0]]


def test_fewer_episodes_than_worlds_are_the_first_that_are_played() -> None:
    task = GymTask("dsrl-test/White-v0", num_envs=4, max_steps=3)
    policy = IdentityPolicy(task)
    env = NoiseActionEnv(task, policy, FullNoise(policy.noise_shape, 1.0, None), 1)
    found = evaluate(env, base_noise(policy.noise_shape), episodes=2, first_seed=7)
    assert (found.seeds, found.returns, found.lengths) == ((7, 8), (3.0, 3.0), (3, 3))
