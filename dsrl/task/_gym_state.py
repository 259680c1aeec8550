"""Reads and restores the state of a gymnasium environment in mid-episode, from the attributes of its layers.

Layers are the wrappers and the innermost environment. Numbers, texts, arrays, random generators, and lists and
dictionaries of them are state (_gym_packing), and so are the generators of spaces that were seeded or sampled
(_gym_spaces). Bounds of spaces and the arguments of `make` never change and are skipped. MuJoCo's data have a module of
their own (_mujoco_state.py); an environment with any other attribute, such as the memory of another simulator or a
second environment, is unsupported. A saved world may come from anybody: it sets nothing but what `state_dict` would
read of this one, so that it replaces no method, layer or simulator.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space

from dsrl.task import _gym_spaces, _mujoco_state
from dsrl.task._gym_packing import Packer, Unpacker, UnsupportedStateError

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
    """Restore what `state_dict` read, in an environment of the same id that has been reset.

    Raises ValueError for a state that no such environment has.
    """
    found = layers(env)
    unpacker = Unpacker(_simulators(found))
    try:
        for layer, attributes in zip(found, state, strict=True):
            for name, value in attributes.items():
                _check(layer, name, value, found)
                _restore(layer, name, value, unpacker)
    except (AttributeError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise ValueError(f"the state of a world is damaged ({reason})") from error


def _check(layer: Any, name: str, packed: dict[str, Any], found: list[Any]) -> None:
    """Raise ValueError for an attribute that `state_dict` would not read, or not as the same kind of value."""
    (kind,) = packed
    is_own, has_no_value = name in vars(layer), packed == {"plain": None}
    # a class may have the first value
    here = vars(layer)[name] if is_own else inspect.getattr_static(layer, name, None)
    if kind == "mujoco":
        fits = is_own and _mujoco_state.is_data(here) and _mujoco_state.is_restorable(here)
    elif kind == "space":
        fits = is_own and isinstance(here, Space)
    elif name.startswith("__") or name in _CONSTANT or isinstance(here, gymnasium.Env | Space):
        fits = False
    else:
        fits = (is_own and has_no_value and not _mujoco_state.is_data(here)) or _is_packable(here, found)
    if not fits:
        raise ValueError(f"the state of a world sets {name!r:.60}, which is no state of {type(layer).__name__}")


def _is_packable(value: Any, found: list[Any]) -> bool:
    try:
        Packer(_simulators(found)).pack(value)
    except UnsupportedStateError:
        return False
    return True


def _restore(layer: Any, name: str, packed: dict[str, Any], unpacker: Unpacker) -> None:
    if "mujoco" in packed:
        _mujoco_state.load_state_dict(getattr(layer, name), packed["mujoco"])
    elif "space" in packed:
        for part, one in zip(_gym_spaces.parts(getattr(layer, name)), packed["space"], strict=True):
            part._np_random = _generator(name, unpacker.unpack(one))
    else:
        value = unpacker.unpack(packed)
        if isinstance(vars(layer).get(name), np.random.Generator):
            _generator(name, value)
        setattr(layer, name, value)


def _generator(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, np.random.Generator):
        raise ValueError(f"the state of a world sets {name!r:.60} to something that is no random generator")
    return value


def layers(env: gymnasium.Env[Any, Any]) -> list[Any]:
    """Return the wrappers, outermost first, and the innermost environment."""
    found: list[Any] = [env]
    while isinstance(found[-1], gymnasium.Wrapper):
        found.append(found[-1].env)
    return found


def _packed(value: Any, packer: Packer) -> dict[str, Any]:
    if _mujoco_state.is_data(value) and _mujoco_state.is_restorable(value):
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
