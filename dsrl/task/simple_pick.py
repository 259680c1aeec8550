"""Defines the task of picking up the named cube: success when the gripper has raised it by 6 cm."""

from __future__ import annotations

import torch
from torch import Tensor

from dsrl.task._tabletop import COLOURS, REST_HEIGHT, Tabletop

_LIFT = 0.06  # m above its rest height


class SimplePick(Tabletop):
    """Rewards the gripper for closing on the named cube and raising it."""

    instructions = tuple(f"pick up the {colour} cube" for colour in COLOURS)

    def succeeded(self) -> Tensor:
        cube = self.named_cube()
        near: Tensor = (cube - self.gripper()).norm(dim=1) < 0.06  # in the gripper, not thrown
        lifted: Tensor = cube[:, 2] - REST_HEIGHT > _LIFT
        return lifted & near

    def progress(self) -> Tensor:
        cube = self.named_cube()
        reach = 1 - torch.tanh(5 * (cube - self.gripper()).norm(dim=1))
        lift = ((cube[:, 2] - REST_HEIGHT) / _LIFT).clamp(0, 1)
        return 0.5 * reach + 0.5 * lift
