"""A pretended arm, in place of the driver of a real one: a point that somebody puts down before each episode."""

from __future__ import annotations

import random
from collections.abc import Sequence


class EmergencyStopError(RuntimeError):
    """Somebody has pressed the emergency stop."""


class Robot:
    """One arm. No seed determines where it starts."""

    def __init__(self) -> None:
        self._random = random.Random()
        self.stopped = False  # by its emergency stop

    def wait_for_person(self) -> None:
        """Wait until everything is in its place: `input("ready? ")` of a real one."""
        self._place = [self._random.uniform(-1, 1) for _ in range(4)]  # point, dock

    def read(self) -> list[float]:
        """Return the newest numbers of its sensors [4]; NaN where one is lost."""
        return list(self._place)

    def move(self, velocity: Sequence[float]) -> None:
        """Move for one control step. Raises EmergencyStopError."""
        if self.stopped:
            raise EmergencyStopError("emergency stop")
        for axis in (0, 1):
            self._place[axis] += 0.1 * max(-1.0, min(1.0, velocity[axis]))

    def ask_person(self) -> bool:
        """Ask whether the episode succeeded: `input("success? ") == "y"` of a real one."""
        return sum((self._place[axis] - self._place[axis + 2]) ** 2 for axis in (0, 1)) < 0.1**2
