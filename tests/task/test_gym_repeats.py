"""Worlds that do not follow their seed are said so at the start: evaluations in them are not paired."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from dsrl.task.gym import GymTask

GLOBAL = np.random.default_rng(7)  # which no reset seeds


class Drift(gymnasium.Env):
    """A point that drifts by itself; `unseeded` is what is drawn from elsewhere than the world's own generator."""

    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, unseeded: str = "", shades: int = 0, success: bool = False) -> None:
        numbers, image = Box(-np.inf, np.inf, (2,), np.float32), Box(0, 255, (4, 6, 3), np.uint8)
        self.observation_space = Dict({"image": image, "numbers": numbers})
        self.episodes = 0
        self.unseeded, self.shades, self.info = unseeded, shades, {"success": False} if success else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        self.place = self._random("start").normal(size=1)
        return self._observed(), {}

    def step(self, action: Any) -> Any:
        self.place = self.place + action + self._random("motion").normal(size=1)
        self.steps += 1
        ended = self.unseeded == "end" and self.steps == 2 + 2 * (self.episodes % 2)
        reward = self._random("reward").normal()
        return self._observed(), reward, ended, False, self.info

    def _random(self, name: str) -> np.random.Generator:
        return GLOBAL if self.unseeded == name else self.np_random

    def _observed(self) -> Any:
        rounding = 1e-6 * GLOBAL.normal(size=1) if self.unseeded == "rounding" else 0.0
        image = np.full((4, 6, 3), 100, np.uint8) + GLOBAL.integers(self.shades + 1, size=(4, 6, 3), dtype=np.uint8)
        numbers = np.append(self.place + rounding, np.nan if self.unseeded == "nan" else 0.0)
        return {"image": image, "numbers": numbers.astype(np.float32)}


gymnasium.register("dsrl-test/Drift-v0", entry_point=Drift, max_episode_steps=30)


def announced(**env_kwargs: Any) -> list[str]:
    """Return what a task announces, but that it has no success."""
    lines: list[str] = []
    GymTask("dsrl-test/Drift-v0", 1, None, env_kwargs, lines.append)
    return [line for line in lines if "scored by returns" not in line]


@pytest.mark.parametrize("success", [False, True])
@pytest.mark.parametrize(
    ("unseeded", "where"), [("start", "reset"), ("motion", "step 1"), ("reward", "step 1"), ("end", "step 3")]
)
def test_worlds_that_do_not_follow_their_seed_are_said_so(unseeded, where, success):
    (line,) = announced(unseeded=unseeded, success=success)
    assert line.startswith("task.id=dsrl-test/Drift-v0: its worlds do not follow their seed, so that evaluations are ")
    assert f"differ as of {where};" in line


def test_images_show_it_too():
    (line,) = announced(shades=150)
    assert "differ as of reset" in line


@pytest.mark.parametrize(
    "env_kwargs", [{}, {"unseeded": "nan"}, {"unseeded": "rounding"}, {"shades": 20}, {"success": True}], ids=str
)
def test_what_a_computer_rounds_or_draws_otherwise_is_no_difference(env_kwargs):
    assert announced(**env_kwargs) == []


@pytest.mark.parametrize("id", ["Pendulum-v1", "Hopper-v5", "Humanoid-v5", "gym_pusht/PushT-v0"])
def test_known_environments_follow_their_seed(id):
    lines: list[str] = []
    GymTask(id, 1, 20, None, lines.append)
    assert not any("follow their seed" in line for line in lines)
