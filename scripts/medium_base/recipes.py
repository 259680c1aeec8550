"""The MuJoCo tasks for which a base policy can be made, with their constants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The constants of one task."""

    id: str  # gymnasium's
    target: float  # return at which the agent's training stops: a third to a half of a good agent's
    hz: int  # control steps per second


RECIPES = {
    "hopper": Recipe("Hopper-v5", 1500.0, 125),
    "walker2d": Recipe("Walker2d-v5", 2000.0, 125),
    "halfcheetah": Recipe("HalfCheetah-v5", 2000.0, 20),
}
