"""Finds out whether environments have changed attributes of their classes, which all worlds of a process share.

A saved world has the attributes of its own objects alone, so that it could not be made again from one that counts in
its class.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import gymnasium

from dsrl.task._gym_state import layers

Marks = dict[type, dict[str, Any]]  # class -> attribute -> its bytes


def marks(envs: Iterable[gymnasium.Env[Any, Any]]) -> Marks:
    """Return what to compare later: the attributes of the classes of all layers, wrappers included."""
    classes = {kind for env in envs for layer in layers(env) for kind in type(layer).__mro__}
    return {
        kind: {name: _mark(value) for name, value in vars(kind).items() if not name.startswith("__")}
        for kind in classes
    }


def _mark(value: Any) -> Any:
    """Return the bytes of a value, or itself where it has none, such as a property: then another one is a change."""
    try:
        return pickle.dumps(value)
    except Exception:  # of any class, since each defines how it is pickled
        return value
