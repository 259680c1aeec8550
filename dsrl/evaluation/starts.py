"""Reduces the start of every world to one number, which shows whether seeds repeat the worlds of a task.

first observations' states [n, S] -> starts (n numbers)      starts of two evaluations -> whether they agree
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NOT_REPEATED = "seeds do not repeat the worlds of this task"
_GOLDEN = 0.618033988749895  # its multiples modulo 1 are all different
_NEAR_ZERO = 0.1  # in a state's units: a smaller entry counts by its difference, a larger one by its ratio
_DECIMALS = 6  # that are stored
_TOLERANCE = 5e-4  # the same world may differ in its last bits on another machine


def starts_of(state: Tensor) -> tuple[float, ...]:
    """Return one number for each row of states [n, S] or [n, t, S]; none where a task has no state.

    Every entry adds (1 + weight) · asinh(x / 0.1), with its own weight below 1, so that sign and place of an entry
    both count. An entry far from 0 adds its logarithm, in effect: the same share of an entry counts as much at 0.5 as
    at 5000, so that no entry hides another, and neither the seconds of a clock since 1970 nor rounding count.
    """
    scaled = (state.detach().cpu().double().flatten(1) / _NEAR_ZERO).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    if not scaled.shape[1]:
        return ()
    weights = 1 + torch.arange(1, scaled.shape[1] + 1, dtype=torch.float64) * _GOLDEN % 1
    return tuple(round(value, _DECIMALS) for value in (weights * scaled.asinh()).sum(1).tolist())


def agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two evaluations of the same seeds started alike; true where one of them has no starts."""
    return not one or not other or bool(np.allclose(one, other, rtol=0.0, atol=_TOLERANCE))
