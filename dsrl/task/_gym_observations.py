"""Splits the observations of a gymnasium environment into state and images.

Box [n]                          state
Dict                             its boxes of numbers, in the order of their names, make the state;
                                 its uint8 boxes [H, W, 3] are cameras, named as their last key
Box [H, W, 3] of uint8           the camera "image", and a state of no numbers
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from torch import Tensor

Path = tuple[str, ...]  # keys of nested dictionaries


class ObservationParts:
    """Where state and images lie in the observations of one space."""

    def __init__(self, id: str, space: gymnasium.Space[Any]) -> None:
        """Raises ValueError for a space with anything but boxes, and for two cameras of one name."""
        self.state: list[Path] = []
        self.cameras: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, int, int]] = {}  # camera -> (3, H, W)
        self.state_dim = 0
        self._add(id, space, ())

    def read_state(self, observation: Any) -> NDArray[np.float32]:
        """Return the numbers [S] of one observation."""
        numbers = [np.ravel(_at(observation, path)).astype(np.float32) for path in self.state]
        return np.concatenate(numbers) if numbers else np.zeros(0, np.float32)

    def read_images(self, observations: list[Any]) -> dict[str, Tensor]:
        """Return the images of all worlds: camera -> uint8 [B, 3, H, W], black where a world has no observation yet."""
        found = {}
        for name, path in self.cameras.items():
            black = np.zeros((*self.shapes[name][1:], 3), np.uint8)
            images = np.stack([black if one is None else _at(one, path) for one in observations])
            found[name] = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return found

    def _add(self, id: str, space: gymnasium.Space[Any], path: Path) -> None:
        if isinstance(space, Dict):
            for key in sorted(space.spaces):
                self._add(id, space.spaces[key], (*path, key))
        elif isinstance(space, Box) and len(space.shape) == 3 and space.shape[2] == 3 and space.dtype == np.uint8:
            name = path[-1] if path else "image"
            if name in self.cameras:
                raise ValueError(f"task.id={id} has two cameras named {name}; wrap it so that their names differ")
            self.cameras[name], self.shapes[name] = path, (3, space.shape[0], space.shape[1])
        elif isinstance(space, Box) and len(space.shape) <= 1:
            self.state.append(path)
            self.state_dim += int(np.prod(space.shape))
        else:
            where = f"observation_space {'/'.join(path)}".strip()
            raise ValueError(
                f"task.id={id} has {where} {space} but task=gym needs flat boxes of numbers or images; "
                "type another id or wrap it"
            )


def _at(observation: Any, path: Path) -> Any:
    for key in path:
        observation = observation[key]
    return observation
