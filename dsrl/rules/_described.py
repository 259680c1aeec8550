"""Words for what a component returned instead of what it has to return."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def described(found: Any) -> str:
    """Return type and shape of anything: `a tensor [2, 3]`, `numpy.ndarray [2, 3]`, `builtins.list`."""
    name = "a tensor" if isinstance(found, Tensor) else f"{type(found).__module__}.{type(found).__name__}"
    return f"{name} {list(found.shape)}" if hasattr(found, "shape") else name
