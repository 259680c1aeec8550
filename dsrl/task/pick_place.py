"""Defines the task of putting the named cube into a box: success when it lies inside and the gripper has let go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dsrl.task._tabletop import COLOURS, MAX_OPENING, Tabletop

_INNER, _WALL, _HEIGHT = 0.14, 0.008, 0.05  # m: inner edge, wall thickness, wall height
_BOX = (0.36, 0.30)  # m, its centre on the table: beside the cubes and within reach


class PickPlace(Tabletop):
    """Adds an open box at the side of the table."""

    instructions = tuple(f"put the {colour} cube into the box" for colour in COLOURS)

    def add_furniture(self, gs: Any, scene: Any) -> None:
        reach = (_INNER + _WALL) / 2
        for dx, dy in ((reach, 0.0), (-reach, 0.0), (0.0, reach), (0.0, -reach)):
            size = (_WALL, _INNER + 2 * _WALL, _HEIGHT) if dx else (_INNER, _WALL, _HEIGHT)
            scene.add_entity(
                gs.morphs.Box(size=size, pos=(_BOX[0] + dx, _BOX[1] + dy, _HEIGHT / 2), fixed=True),
                surface=gs.surfaces.Default(color=(0.45, 0.3, 0.15)),
            )

    @property
    def box(self) -> Tensor:
        """The centre of the box on the table [B, 2], metres."""
        return torch.tensor(_BOX).expand(self.num_envs, -1)

    def succeeded(self) -> Tensor:
        cube = self.named_cube()
        inside: Tensor = ((cube[:, :2] - self.box).abs() < _INNER / 2).all(dim=1) & (cube[:, 2] < _HEIGHT)
        away: Tensor = (cube - self.gripper()).norm(dim=1) > MAX_OPENING
        return inside & away

    def progress(self) -> Tensor:
        cube = self.named_cube()
        reach = 1 - torch.tanh(5 * (cube - self.gripper()).norm(dim=1))
        carry = 1 - torch.tanh(3 * (cube[:, :2] - self.box).norm(dim=1))
        return torch.where(self.succeeded(), torch.ones_like(reach), 0.4 * reach + 0.4 * carry)
