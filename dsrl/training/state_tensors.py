"""Walks through a state: nested dictionaries and lists with tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def named_tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the name, as `actor.0.weight`, and the value of every tensor in a state."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping | list | tuple):
        for key, part in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from named_tensors(part, f"{name}.{key}" if name else str(key))


def num_bytes(state: Any) -> int:
    """Return the bytes of all tensors in a state."""
    return sum(tensor.nbytes for _, tensor in named_tensors(state))


def as_tensors(state: Any) -> Any:
    """Replace the arrays in nested dictionaries by tensors of the same memory."""
    if isinstance(state, dict):
        return {key: as_tensors(value) for key, value in state.items()}
    return torch.from_numpy(state) if isinstance(state, np.ndarray) else state


def as_arrays(state: Any) -> Any:
    """Invert `as_tensors`, in memory of its own."""
    if isinstance(state, dict):
        return {key: as_arrays(value) for key, value in state.items()}
    return state.numpy().copy() if isinstance(state, Tensor) else state
