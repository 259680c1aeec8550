"""Splits the observations of a gymnasium environment into state and images.

Box [n]                          state
Dict                             its boxes of numbers, in the order of their names, make the state;
                                 its uint8 boxes [H, W, 3] are cameras, named as their last key, with _ for /
Box [H, W, 3] of uint8           the camera "image", and a state of no numbers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from torch import Tensor

_LONGEST = 100  # characters of a wrong part that a message repeats

Path = tuple[Any, ...]  # keys of nested dictionaries: names, or numbers


class ObservationParts:
    """Where state and images lie in the observations of one space."""

    def __init__(self, id: str, space: gymnasium.Space[Any]) -> None:
        """Raises ValueError for a space with anything but boxes, and for two cameras of one name."""
        self._name = f"task.id={id}"
        self.state: list[Path] = []
        self.cameras: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, int, int]] = {}  # camera -> (3, H, W)
        self.state_dim = 0
        self._add(id, space, ())

    def read_state(self, observation: Any) -> NDArray[np.float32]:
        """Return the numbers [S] of one observation."""
        numbers = [self._numbers(_at(observation, path)) for path in self.state]
        return np.concatenate(numbers) if numbers else np.zeros(0, np.float32)

    def kept(self, observation: Any) -> Any:
        """Return an observation to be read later, with its images copied: worlds may draw into one buffer in turn."""
        for path in self.cameras.values():
            observation = _with_copy(observation, path)
        return observation

    def read_images(self, observations: list[Any]) -> dict[str, Tensor]:
        """Return the images of all worlds: camera -> uint8 [B, 3, H, W], black where a world has no observation yet."""
        found = {}
        for name, path in self.cameras.items():
            black = np.zeros((*self.shapes[name][1:], 3), np.uint8)
            images = np.stack([black if one is None else _at(one, path) for one in observations])
            found[name] = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return found

    def check(self, observation: Any) -> None:
        """Raise ValueError where an observation lacks a part of its space, or has an image of other size or type."""
        for path in (*self.state, *self.cameras.values()):
            try:
                _at(observation, path)
            except (LookupError, TypeError) as error:
                has = sorted(map(str, observation)) if isinstance(observation, Mapping) else type(observation).__name__
                raise ValueError(
                    f"{self._name} returned an observation without {_named(path)}, which its observation_space has "
                    f"(it is {has}); correct the one or the other in the environment"
                ) from error
        for name, path in self.cameras.items():
            image, expected = _at(observation, path), (*self.shapes[name][1:], 3)
            found, kind = tuple(np.shape(image)), getattr(image, "dtype", type(image).__name__)
            if found != expected or kind != np.uint8:
                raise ValueError(
                    f"{self._name} returned an image {name} of shape {found} and type {kind} but its observation_space "
                    f"has {expected} and uint8; correct the one or the other in the environment"
                )

    def _numbers(self, part: Any) -> NDArray[np.float32]:
        try:
            values = np.ravel(part)
            known = values if values.dtype.kind != "O" else np.array([float(one) for one in values])  # None becomes NaN
            return known.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self._name} returned {' '.join(repr(part).split())[:_LONGEST]} in its observation but its "
                "observation_space has numbers there; correct the one or the other in the environment"
            ) from error

    def _add(self, id: str, space: gymnasium.Space[Any], path: Path) -> None:
        if isinstance(space, Dict):
            for key in sorted(space.spaces, key=lambda key: (isinstance(key, str), key)):  # numbers before names
                self._add(id, space.spaces[key], (*path, key))
        elif isinstance(space, Box) and len(space.shape) == 3 and space.shape[2] == 3 and space.dtype == np.uint8:
            name = str(path[-1]).replace("/", "_") if path else "image"  # no column of a lerobot dataset may have a /
            if name in self.cameras:
                raise ValueError(f"task.id={id} has two cameras named {name}; wrap it so that their names differ")
            self.cameras[name], self.shapes[name] = path, (3, space.shape[0], space.shape[1])
        elif isinstance(space, Box) and len(space.shape) <= 1:
            self.state.append(path)
            self.state_dim += int(np.prod(space.shape))
        else:
            where = f"observation_space {_named(path)}".strip()
            raise ValueError(
                f"task.id={id} has {where} {space} but task=gym needs flat boxes of numbers, or images: "
                "boxes [H, W, 3] of uint8; type another id or wrap it"
            )


def _named(path: Path) -> str:
    return "/".join(map(str, path))


def _with_copy(observation: Any, path: Path) -> Any:
    """Copy the array at `path`, and the dictionaries on the way to it."""
    if not path:
        return np.array(observation)
    return {**observation, path[0]: _with_copy(observation[path[0]], path[1:])}


def _at(observation: Any, path: Path) -> Any:
    for key in path:
        observation = observation[key]
    return observation
