"""Packs the values of an environment as what a checkpoint can hold, and makes them again.

What was one object, or arrays that share memory, is so again: who writes the one changes the other. Every list,
dictionary, random generator and array is packed where it is met first; {"same": n} is the one that was met as number n,
{"part": …} a view of an array, or of the memory of MuJoCo.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task import _mujoco_state

_NUMBERS = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"))
_BITS = "PCG64"  # of numpy's and gymnasium's default generators


class UnsupportedStateError(Exception):
    """The environment has an attribute that could not be made again; the message is its type."""


class Packer:
    """Packs the values of one environment, of which some may lie in the memory of its `simulators` (MjData)."""

    def __init__(self, simulators: list[Any]) -> None:
        """Start with nothing met."""
        self._simulators = simulators
        self._numbers: dict[int, int] = {}  # id of an object -> its number
        self._met: list[Any] = []  # alive, so that their ids stay theirs

    def pack(self, value: Any) -> dict[str, Any]:
        """Return the packed value. Raises `UnsupportedStateError`."""
        if value is None or type(value) in (bool, int, float, str):
            return {"plain": value}
        if isinstance(value, np.generic) and value.dtype.name in _NUMBERS:
            return {"number": torch.from_numpy(np.array(value))}
        if type(value) is tuple:
            return {"tuple": [self.pack(one) for one in value]}
        if type(value) is np.ndarray and value.dtype.name in _NUMBERS:
            return self._array(value)
        if type(value) in (list, dict, np.random.Generator):
            return self._same(value) or self._mutable(value)
        raise UnsupportedStateError(type(value).__name__)

    def _mutable(self, value: Any) -> dict[str, Any]:
        self._meet(value)
        if isinstance(value, list):
            return {"list": [self.pack(one) for one in value]}
        if isinstance(value, dict):
            return {"pairs": [[self.pack(key), self.pack(one)] for key, one in value.items()]}
        state = value.bit_generator.state
        if state["bit_generator"] != _BITS:
            raise UnsupportedStateError(state["bit_generator"])
        return {"generator": state}

    def _array(self, array: NDArray[Any]) -> dict[str, Any]:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if owner.base is not None:
            return {"part": self._of_simulator(array)}
        if array.size > owner.size:
            raise UnsupportedStateError("view that repeats the numbers of an array")
        if owner is not array and (owner.dtype != array.dtype or not owner.flags.c_contiguous):
            raise UnsupportedStateError("view of an array of other type or order")
        packed = self._same(owner)
        if packed is None:
            self._meet(owner)
            packed = {"array": torch.from_numpy(np.array(owner))}
        return packed if owner is array else {"part": {"of": packed, **_place(array, owner)}}

    def _of_simulator(self, array: NDArray[Any]) -> dict[str, Any]:
        for number, data in enumerate(self._simulators):
            for name, buffer in _mujoco_state.memory(data).items():
                if buffer.dtype == array.dtype and array.size <= buffer.size and np.may_share_memory(buffer, array):
                    return {"simulator": number, "buffer": name, **_place(array, buffer)}
        raise UnsupportedStateError("view of memory that is not numpy's")

    def _same(self, value: Any) -> dict[str, Any] | None:
        number = self._numbers.get(id(value))
        return None if number is None else {"same": number}

    def _meet(self, value: Any) -> None:
        self._numbers[id(value)] = len(self._met)
        self._met.append(value)


class Unpacker:
    """Makes again, in the same order, what a `Packer` packed, for an environment with `simulators` of its own."""

    def __init__(self, simulators: list[Any]) -> None:
        """Start with nothing met."""
        self._simulators = simulators
        self._met: list[Any] = []

    def unpack(self, packed: dict[str, Any]) -> Any:
        """Return the value. Whatever `packed` is, values of Packer's types are made and nothing is called.

        Raises ValueError, KeyError, TypeError and the like for what no `Packer` packed.
        """
        ((kind, value),) = packed.items()
        if kind == "same":
            return self._met[value]
        if kind == "tuple":
            return tuple(self.unpack(one) for one in value)
        if kind == "part":
            return self._part(value)
        if kind in ("plain", "number"):
            return value.numpy().copy()[()] if isinstance(value, Tensor) else value
        return self._mutable(kind, value)

    def _mutable(self, kind: str, value: Any) -> Any:
        made: Any = {"list": [], "pairs": {}, "dict": {}}.get(kind)
        if kind == "array":
            made = value.numpy().copy()
        elif kind == "generator":
            made = np.random.default_rng(0)
            made.bit_generator.state = value
        self._met.append(made)  # before its contents, which may have it among them
        if kind == "list":
            made.extend(self.unpack(one) for one in value)
        elif kind == "pairs":
            made.update((self.unpack(key), self.unpack(one)) for key, one in value)
        elif kind == "dict":  # in checkpoints of earlier versions
            made.update((key, self.unpack(one)) for key, one in value.items())
        return made

    def _part(self, packed: dict[str, Any]) -> NDArray[Any]:
        if "of" in packed:
            owner = self.unpack(packed["of"])
        else:
            owner = _mujoco_state.memory(self._simulators[packed["simulator"]])[packed["buffer"]]
        if not isinstance(owner, np.ndarray) or math.prod(packed["shape"]) > owner.size:
            raise ValueError("a view has more numbers than its array")
        view: NDArray[Any] = np.ndarray(
            packed["shape"], owner.dtype, buffer=owner, offset=packed["offset"], strides=packed["strides"]
        )
        if "of" not in packed and owner.dtype.kind != "f":  # indices, which MuJoCo follows unchecked
            view.flags.writeable = False
        return view


def _place(view: NDArray[Any], owner: NDArray[Any]) -> dict[str, Any]:
    first, begin = (one.__array_interface__["data"][0] for one in (view, owner))
    return {"offset": first - begin, "shape": list(view.shape), "strides": list(view.strides)}
