"""Finds out whether environments have changed attributes of their classes, which all worlds of a process share.

A saved world has the attributes of its own objects alone, so that it could not be made again from one that counts in
its class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np

from dsrl.task._gym_state import layers

Marks = dict[type, dict[str, Any]]  # class -> attribute -> what is equal while it is


def marks(envs: Iterable[gymnasium.Env[Any, Any]]) -> Marks:
    """Return what to compare later: the attributes of the classes of all layers, wrappers included."""
    classes = {kind for env in envs for layer in layers(env) for kind in type(layer).__mro__}
    return {
        kind: {name: _mark(value) for name, value in vars(kind).items() if not name.startswith("__")}
        for kind in classes
    }


def _mark(value: Any) -> Any:
    """Return something that is equal as long as a value has the same content, and holds no part that may change."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, np.random.Generator):
        return _mark(value.bit_generator.state)
    if isinstance(value, Mapping):
        return [(_mark(key), _mark(one)) for key, one in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_mark(one) for one in value]
    if isinstance(value, set | frozenset):
        return frozenset(value)
    if isinstance(value, float):
        return repr(value)  # NaN too is equal to itself
    return (
        value if isinstance(value, int | str | bytes | None) else (id(value), value)
    )  # the value, so that its id stays
