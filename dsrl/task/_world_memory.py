"""Refuses more worlds than the free memory holds, by those that have been made so far and by their observations."""

from __future__ import annotations

import math
import os
from pathlib import Path

from gymnasium.spaces import Box, Space

from dsrl.available_memory import available_memory
from dsrl.task._gym_spaces import parts

_GIB = 2**30
_STATM = Path("/proc/self/statm")  # sizes of this process in pages; the second is in memory
_MEASURABLE = 2**26  # bytes of growth; less is as much the allocator's as that of the worlds
_COPIES = 2  # of an observation: in its world, and in the batch


class TooManyWorldsError(ValueError):
    """The worlds of `num_envs` take more memory than is free."""


class WorldMemory:
    """Compares `num_envs` worlds with the free memory each time that the number of those made has doubled."""

    def __init__(self, num_envs: int, process: int = 0) -> None:
        """`process` is the number of bytes that each world takes in a process of its own, 0 for worlds in this one."""
        self._num_envs, self._process = num_envs, process
        self._made = self._first = 0  # worlds; bytes of this process with the first, which has loaded the simulator

    def add(self, observed: int) -> None:
        """Count a world that was made, whose observation has `observed` bytes. Raises TooManyWorldsError."""
        self._made += 1
        if self._made == 1:
            self._first = _resident()
        if self._made & (self._made - 1):
            return
        grown = _resident() - self._first
        each = grown / (self._made - 1) if grown >= _MEASURABLE else 0
        needed = (self._num_envs - self._made) * each + self._num_envs * (_COPIES * observed + self._process)
        free = available_memory()
        if needed > free:
            raise TooManyWorldsError(
                f"num_envs={self._num_envs} would take {needed / _GIB:.1f} GiB more, by {self._made} made so far and "
                f"their observations, but {free / _GIB:.1f} GiB are free; type a smaller num_envs"
            )


def observed_bytes(space: Space[object]) -> int:
    """Return the size of an observation in a space, by the boxes in it."""
    return sum(math.prod(one.shape) * one.dtype.itemsize for one in parts(space) if isinstance(one, Box))


def _resident() -> int:
    """Return the bytes of memory that this process takes, 0 where the system does not report them."""
    if not _STATM.is_file():
        return 0
    return int(_STATM.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
