"""Plays MetaWorld's own scripted experts."""

from __future__ import annotations

import warnings
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task.metaworld import MetaWorldTask


class MetaWorldExpert:
    """Demonstrates one task of MetaWorld."""

    hz, robot, low, high = 80, None, -1.0, 1.0

    def __init__(self, name: str, num_envs: int, observation: str, image_size: int) -> None:
        """Make `num_envs` worlds of the task `name`."""
        seen = cast(Literal["state", "images"], observation)
        self.task = MetaWorldTask(name, num_envs, seen, "sparse", 200, ["corner2"], image_size)
        from metaworld.policies import ENV_POLICY_MAP

        self._script = ENV_POLICY_MAP[name]()
        warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")  # they are clipped

    def begin(self) -> None:
        """Do nothing: the scripts have no memory."""

    def actions(self, over: Tensor) -> NDArray[Any]:
        """Return the actions [B, 4] of the script."""
        return np.stack([self._script.get_action(world) for world in self.task.numbers().numpy()])
