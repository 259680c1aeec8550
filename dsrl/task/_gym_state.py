"""Reads and restores the state of a gymnasium environment in mid-episode, from the attributes of its layers.

Layers are the wrappers and the innermost environment. Numbers, arrays and random generators are state; descriptions
such as spaces never change and are skipped. MuJoCo's data have a module of their own (_mujoco_state.py); an environment
with any other attribute, such as the memory of another simulator, is unsupported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space
from torch import Tensor

from dsrl.task import _mujoco_state

_FIXED = (Space, EnvSpec, dict, str)  # dict: metadata and arguments, which do not change after `make`


class UnsupportedStateError(Exception):
    """The environment has an attribute that is neither number, text nor array; the message is its type."""


def state_dict(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """Read every layer, outermost first: attribute -> value. Raises `UnsupportedStateError`."""
    return [
        {name: _packed(value) for name, value in vars(layer).items() if not _is_fixed(value)} for layer in _layers(env)
    ]


def load_state_dict(env: gymnasium.Env[Any, Any], state: list[dict[str, Any]]) -> None:
    """Restore what `state_dict` read, in an environment of the same id."""
    for layer, attributes in zip(_layers(env), state, strict=True):
        for name, value in attributes.items():
            if "mujoco" in value:
                _mujoco_state.load_state_dict(getattr(layer, name), value["mujoco"])
            else:
                setattr(layer, name, _unpacked(value))


def _layers(env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        yield layer
        layer = layer.env
    yield layer


def _is_fixed(value: Any) -> bool:
    return isinstance(value, (*_FIXED, gymnasium.Env)) or _mujoco_state.is_description(value)


def _packed(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return {"plain": value}
    if _mujoco_state.is_data(value):
        return {"mujoco": _mujoco_state.state_dict(value)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "bif":
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {kind: torch.from_numpy(np.array(value))}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(one) for one in value]}
    if isinstance(value, dict):
        return {"dict": {key: _packed(one) for key, one in value.items()}}
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    raise UnsupportedStateError(type(value).__name__)


def _unpacked(packed: dict[str, Any]) -> Any:
    ((kind, value),) = packed.items()
    if kind == "list":
        return [_unpacked(one) for one in value]
    if kind == "tuple":
        return tuple(_unpacked(one) for one in value)
    if kind == "dict":
        return {key: _unpacked(one) for key, one in value.items()}
    if isinstance(value, Tensor):
        array = value.numpy().copy()
        return array if kind == "array" else array[()]
    if kind == "generator":
        generator = np.random.default_rng(0)
        generator.bit_generator.state = value
        return generator
    return value
