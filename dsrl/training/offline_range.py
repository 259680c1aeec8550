"""Finds recorded actions outside the range of a task's: in other units, such as degrees, or recorded unclipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrl.interfaces import BoundedActions, Task

_SLACK = 0.01  # of the range: what recordings round, and commands that a robot's controller clips
_FEW = 0.01  # of the recorded actions that may lie outside


def outside_range(chunks: Sequence[NDArray[Any]], task: Task) -> str | None:
    """Return a sentence with the share of actions of `chunks`, each [h, A] in the task's units, outside its range.

    None where few are, and for a task without bounds.
    """
    if not isinstance(task, BoundedActions):
        return None
    rows = np.concatenate(list(chunks)).astype(float)
    low, high = task.action_low.double().numpy(), task.action_high.double().numpy()
    slack = _SLACK * (high - low)
    beyond = np.maximum(low - slack - rows, rows - high - slack)
    share = (beyond > 0).any(1).mean()
    if share < _FEW:
        return None
    row, number = np.unravel_index(beyond.argmax(), beyond.shape)
    return (
        f"{share:.0%} of its actions lie outside the task's range, such as {rows[row, number]:g} of action {number}, "
        f"which is between {low[number]:g} and {high[number]:g}; convert them to the task's units, or clip them where "
        "they were clipped when they were executed"
    )
