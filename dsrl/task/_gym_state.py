"""Reads and restores the state of a gymnasium environment in mid-episode, from the attributes of its layers.

Layers are the wrappers and the innermost environment. Numbers, texts, arrays, random generators, and lists and
dictionaries of them are state (_gym_packing); spaces and the arguments of `make` never change and are skipped. MuJoCo's
data have a module of their own (_mujoco_state.py); an environment with any other attribute, such as the memory of
another simulator or a second environment, is unsupported.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space

from dsrl.task import _mujoco_state
from dsrl.task._gym_packing import Packer, Unpacker

_CONSTANT = frozenset(("metadata", "_metadata", "_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs"))  # by gymnasium


def state_dict(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """Read every layer, outermost first: attribute -> value. Raises `UnsupportedStateError`."""
    layers = _layers(env)
    packer = Packer(_simulators(layers))
    return [
        {
            name: {"mujoco": _mujoco_state.state_dict(value)} if _mujoco_state.is_data(value) else packer.pack(value)
            for name, value in vars(layer).items()
            if not _is_fixed(name, value, layers)
        }
        for layer in layers
    ]


def load_state_dict(env: gymnasium.Env[Any, Any], state: list[dict[str, Any]]) -> None:
    """Restore what `state_dict` read, in an environment of the same id."""
    layers = _layers(env)
    unpacker = Unpacker(_simulators(layers))
    for layer, attributes in zip(layers, state, strict=True):
        for name, value in attributes.items():
            if "mujoco" in value:
                _mujoco_state.load_state_dict(getattr(layer, name), value["mujoco"])
            else:
                setattr(layer, name, unpacker.unpack(value))


def _layers(env: gymnasium.Env[Any, Any]) -> list[Any]:
    layers: list[Any] = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _simulators(layers: list[Any]) -> list[Any]:
    return [value for layer in layers for value in vars(layer).values() if _mujoco_state.is_data(value)]


def _is_fixed(name: str, value: Any, layers: list[Any]) -> bool:
    if isinstance(value, gymnasium.Env):
        return any(value is layer for layer in layers)
    return name in _CONSTANT or isinstance(value, Space | EnvSpec) or _mujoco_state.is_description(value)
