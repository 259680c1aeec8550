"""An environment of gymnasium whose steps return whatever a test passes: values that no run can use.

A point starts at 0 and moves by its action; an episode has 20 steps.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

ID = "dsrl-test/Odd-v0"
LATER = 3  # step from which on values are odd, where they are not odd from the first


class OddWorld(gymnasium.Env):
    """Steps a point [2]."""

    observation_space = gymnasium.spaces.Box(-99, 99, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(
        self, success: Any = False, later: Any = None, reward: float = 0.0, numbers: int = 2, fails: str = ""
    ) -> None:
        """success: in the info of every step, `later` of those from LATER on; the other three are as of LATER."""
        self.success, self.later = success, success if later is None else later
        self.reward, self.numbers, self.fails = reward, numbers, fails

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.steps = np.zeros(2, np.float32), 0
        return self.place.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place += 0.1 * action
        if self.steps < LATER:
            return self.place.copy(), 0.0, False, False, {"is_success": self.success}
        if self.fails:
            raise RuntimeError(self.fails)
        return self.place[: self.numbers].copy(), self.reward, False, False, {"is_success": self.later}


gymnasium.register(ID, entry_point=OddWorld, max_episode_steps=20)
