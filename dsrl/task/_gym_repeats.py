"""Compares two episodes of one environment that had the same seed and the same actions.

An environment that draws from anything but its own seeded generator has other worlds each time: evaluations of two
policies then meet different ones. What a computer may round or draw otherwise each time is no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsrl.task._gym_observations import ObservationParts

TWICE = 8  # control steps that are compared
_ROUNDED = {"rtol": 1e-3, "atol": 1e-5}  # differences of numbers that simulators on a GPU may have
_SHADES = 32  # of 255, by which edges of a rendered image may differ


class Moment(NamedTuple):
    """What one reset or step returned."""

    numbers: NDArray[np.float32]  # state [S], and reward
    images: dict[str, NDArray[np.uint8]]  # camera -> [1, 3, H, W]


def moment(parts: ObservationParts, observation: Any, reward: float) -> Moment:
    """Copy what one reset, without reward, or step returned."""
    parts.check(observation)
    numbers = np.append(parts.read_state(observation), np.float32(reward))
    return Moment(numbers, {name: image.numpy() for name, image in parts.read_images([observation]).items()})


def difference(first: Sequence[Moment], second: Sequence[Moment]) -> str | None:
    """Return where two episodes differ first: "reset" or "step 3"; None where they are alike."""
    for count, (one, other) in enumerate(zip(first, second, strict=False)):
        if not _alike(one, other):
            return f"step {count}" if count else "reset"
    shorter = min(len(first), len(second))
    return None if len(first) == len(second) else f"step {shorter}"


def _alike(one: Moment, other: Moment) -> bool:
    if one.numbers.shape != other.numbers.shape:
        return False
    numbers = np.allclose(one.numbers, other.numbers, equal_nan=True, **_ROUNDED)
    return numbers and all(_drawn_alike(image, other.images[name]) for name, image in one.images.items())


def _drawn_alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool((np.abs(one.astype(np.int16) - other) <= _SHADES).all())
