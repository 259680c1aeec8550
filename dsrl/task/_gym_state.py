"""Reads and restores the state of a gymnasium environment in mid-episode, from the attributes of its layers.

Layers are the wrappers and the innermost environment. Numbers, texts, arrays, random generators, and lists and
dictionaries of them are state (_gym_packing), and so are the generators of spaces that were seeded or sampled
(_gym_spaces). Bounds of spaces and the arguments of `make` never change and are skipped. MuJoCo's data have a module of
their own (_mujoco_state.py); an environment with any other attribute, such as the memory of another simulator or a
second environment, is unsupported.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space

from dsrl.task import _gym_spaces, _mujoco_state
from dsrl.task._gym_packing import Packer, Unpacker

_CONSTANT = frozenset(("metadata", "_metadata", "_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs"))  # by gymnasium


def state_dict(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """Read every layer, outermost first: attribute -> value. Raises `UnsupportedStateError`."""
    found = layers(env)
    packer = Packer(_simulators(found))
    return [
        {name: _packed(value, packer) for name, value in vars(layer).items() if not _is_fixed(name, value, found)}
        for layer in found
    ]


def load_state_dict(env: gymnasium.Env[Any, Any], state: list[dict[str, Any]]) -> None:
    """Restore what `state_dict` read, in an environment of the same id."""
    found = layers(env)
    unpacker = Unpacker(_simulators(found))
    for layer, attributes in zip(found, state, strict=True):
        for name, value in attributes.items():
            if "mujoco" in value:
                _mujoco_state.load_state_dict(getattr(layer, name), value["mujoco"])
            elif "space" in value:
                for part, generator in zip(_gym_spaces.parts(getattr(layer, name)), value["space"], strict=True):
                    part._np_random = unpacker.unpack(generator)
            else:
                setattr(layer, name, unpacker.unpack(value))


def layers(env: gymnasium.Env[Any, Any]) -> list[Any]:
    """Return the wrappers, outermost first, and the innermost environment."""
    found: list[Any] = [env]
    while isinstance(found[-1], gymnasium.Wrapper):
        found.append(found[-1].env)
    return found


def _packed(value: Any, packer: Packer) -> dict[str, Any]:
    if _mujoco_state.is_data(value):
        return {"mujoco": _mujoco_state.state_dict(value)}
    if isinstance(value, Space):
        return {"space": [packer.pack(part._np_random) for part in _gym_spaces.parts(value)]}
    return packer.pack(value)


def _simulators(found: list[Any]) -> list[Any]:
    return [value for layer in found for value in vars(layer).values() if _mujoco_state.is_data(value)]


def _is_fixed(name: str, value: Any, found: list[Any]) -> bool:
    if isinstance(value, gymnasium.Env):
        return any(value is layer for layer in found)
    if isinstance(value, Space):
        return not _gym_spaces.is_drawn(value)
    return name in _CONSTANT or isinstance(value, EnvSpec) or _mujoco_state.is_description(value)
