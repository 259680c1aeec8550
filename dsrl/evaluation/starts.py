"""Reduces the start of every world to one number, which shows whether seeds repeat the worlds of a task.

first observations' states [n, S] -> starts (n numbers)      starts of two evaluations -> whether they agree
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_GOLDEN = 0.618033988749895  # its multiples modulo 1 are all different
_DIGITS = 7  # that are stored
_TOLERANCE = 1e-4  # relative: the same world may differ in its last bits on another machine
_ROUNDING = 1e-6  # of states that are all about 0, in their units


def starts_of(state: Tensor) -> tuple[float, ...]:
    """Return one number for each row of states [n, S] or [n, t, S]; none where a task has no state.

    Every entry adds |x| + weight · x, with its own weight below 1: entries cannot cancel each other, so that rounding
    of the state changes the sum as little, and sign and place of an entry both count.
    """
    flat = torch.nan_to_num(state.detach().cpu().double().flatten(1), nan=0.0, posinf=0.0, neginf=0.0)
    if not flat.shape[1]:
        return ()
    weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64) * _GOLDEN % 1
    return tuple(float(f"{value:.{_DIGITS}g}") for value in (flat.abs() + weights * flat).sum(1).tolist())


def agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two evaluations of the same seeds started alike; true where one of them has no starts."""
    return not one or not other or bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_ROUNDING))
