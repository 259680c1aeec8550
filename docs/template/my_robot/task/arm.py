"""One real robot as a task: a person resets it and judges its episodes, and what goes wrong with it is raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from dsrl.interfaces import Observation, Step
from my_robot.robot import Robot


class Arm:
    """The one world of an arm and a dock; the action is a velocity."""

    state_dim = 4  # point, dock
    action_dim = 2
    cameras: Mapping[str, tuple[int, int, int]] = {}
    has_success = True
    fps = 10  # control steps per second

    def __init__(self, num_envs: Literal[1], max_steps: Annotated[int, Ge(1)]) -> None:
        self.num_envs, self.max_steps, self.elapsed = num_envs, max_steps, 0
        self.robot: Robot | None = None  # connected by the first reset: options are checked before

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Wait for a person. The seed is left alone: nothing can repeat a scene."""
        self.robot = self.robot or Robot()
        self.robot.wait_for_person()
        self.elapsed = 0

    def observe(self) -> Observation:
        """Read the sensors. Raises RuntimeError where one is lost."""
        assert self.robot is not None
        state = torch.tensor([self.robot.read()], dtype=torch.float32)
        if not state.isfinite().all():
            raise RuntimeError(f"a sensor is lost: it reads {state[0].tolist()}")
        return Observation(state, {}, ("",))

    def step(self, action: Tensor) -> Step:
        """Move by one action. A person judges the episode in its last step, which waits for the answer."""
        assert self.robot is not None
        self.robot.move(action[0].tolist())  # an emergency stop raises here
        self.elapsed += 1
        last = self.elapsed == self.max_steps
        success = torch.tensor([last and self.robot.ask_person()])
        return Step(success.float(), success, torch.tensor([last]) & ~success, success)

    def hold(self) -> Tensor:
        """Return the velocity 0."""
        return torch.zeros(1, 2)
