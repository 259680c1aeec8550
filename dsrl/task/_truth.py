"""Reads what environments give as true or false, in any of the types that they use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor


def single(value: Any) -> Any:
    """Return the element of an array of one, and any other value as it is."""
    array = isinstance(value, np.generic | np.ndarray | Tensor)
    return value.item() if array and math.prod(value.shape) == 1 else value


def truth(value: Any) -> bool | None:
    """Return a bool, 0 or 1, alone or in an array of one, as a bool; None for anything else."""
    value = single(value)
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None
