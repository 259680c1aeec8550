"""What a gymnasium environment is in mid-episode, read from the attributes of its layers (wrappers and the innermost).

Numbers, arrays and random generators are told; what describes the environment and never changes is left alone; an
environment with anything else, such as a simulator's own memory, cannot be told; MuJoCo's can (_mujoco_state.py).
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

_FIXED = (Space, EnvSpec, dict, str)  # dict: metadata and arguments, which nobody changes after `make`


class UntoldError(Exception):
    """The environment holds what is neither number, text nor array."""


def told(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """Per layer, outermost first: attribute -> value. Raises `UntoldError`."""
    return [
        {name: _told(value) for name, value in vars(layer).items() if not _is_fixed(value)} for layer in _layers(env)
    ]


def put(env: gymnasium.Env[Any, Any], state: list[dict[str, Any]]) -> None:
    """Give every layer of an environment of the same id what `told` read."""
    for layer, attributes in zip(_layers(env), state, strict=True):
        for name, value in attributes.items():
            if "mujoco" in value:
                _mujoco_state.put(getattr(layer, name), value["mujoco"])
            else:
                setattr(layer, name, _given(value))


def _layers(env: gymnasium.Env[Any, Any]) -> Iterator[Any]:
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        yield layer
        layer = layer.env
    yield layer


def _is_fixed(value: Any) -> bool:
    return isinstance(value, (*_FIXED, gymnasium.Env)) or _mujoco_state.is_description(value)


def _told(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return {"plain": value}
    if _mujoco_state.is_data(value):
        return {"mujoco": _mujoco_state.told(value)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "bif":
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {kind: torch.from_numpy(np.array(value))}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_told(one) for one in value]}
    if isinstance(value, dict):
        return {"dict": {key: _told(one) for key, one in value.items()}}
    if isinstance(value, np.random.Generator):
        return {"generator": value.bit_generator.state}
    raise UntoldError(type(value).__name__)


def _given(told: dict[str, Any]) -> Any:
    ((kind, value),) = told.items()
    if kind == "list":
        return [_given(one) for one in value]
    if kind == "tuple":
        return tuple(_given(one) for one in value)
    if kind == "dict":
        return {key: _given(one) for key, one in value.items()}
    if isinstance(value, Tensor):
        array = value.numpy().copy()
        return array if kind == "array" else array[()]
    if kind == "generator":
        generator = np.random.default_rng(0)
        generator.bit_generator.state = value
        return generator
    return value
