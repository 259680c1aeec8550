"""An environment of gymnasium whose steps return whatever a test passes: values that no run can use.

A point starts at 0 and moves by its action; an episode has 20 steps.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np

ID = "dsrl-test/Odd-v0"
LATER = 10  # step, after those that a trial plays, from which on values are odd, where they are not odd from the first


class OddWorld(gymnasium.Env):
    """Steps a point [2], of which it returns the place and the number of steps: the state of toys.mlp_checkpoints."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 25}
    observation_space = gymnasium.spaces.Box(-99, 99, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(
        self,
        success: Any = False,
        later: Any = None,
        reward: float = 0.0,
        numbers: int = 3,
        state: float | None = None,
        fails: str = "",
        resets: int = 0,
    ) -> None:
        """success: in the info of every step, `later` of those from LATER on.

        The others are as of LATER, of episodes after `resets` resets: state fills the observation, of so many numbers.
        """
        self.success, self.later = success, success if later is None else later
        self.reward, self.numbers, self.state, self.fails = reward, numbers, state, fails
        self.resets = resets

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.steps, self.resets = np.zeros(3, np.float32), 0, self.resets - 1
        return self.place.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place[:2] += 0.1 * action
        self.place[2] = self.steps
        if self.steps < LATER or self.resets >= 0:
            return self.place.copy(), 0.0, False, False, {"is_success": self.success}
        if self.fails:
            raise RuntimeError(f"\x1b[31m{self.fails}")  # in red
        observed = self.place if self.state is None else np.full(3, self.state, np.float32)
        return observed[: self.numbers].copy(), self.reward, False, False, {"is_success": self.later}


gymnasium.register(ID, entry_point=OddWorld, max_episode_steps=20)
