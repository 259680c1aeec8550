"""Checks the whole numbers of a saved scene: Genesis' kernels follow indices unchecked, and a scene may be anybody's.

links, joints, geoms, …        as this scene was built with, to the number
contacts, their order, counts  below the length of what they index or count
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

_LENGTH = {  # last word of an array's name -> the array that has as many rows as its numbers may reach
    "geom_a": "dyn_state.geoms.is_hibernated",
    "geom_b": "dyn_state.geoms.is_hibernated",
    "link_a": "dyn_state.links.is_hibernated",
    "link_b": "dyn_state.links.is_hibernated",
    "i_l": "dyn_state.links.is_hibernated",
    "contact_sort_idx": "collider_state.contact_sort_idx",
    "n_contacts": "collider_state.contact_sort_idx",
    "n_constraints": "constraint_state.active",
    "n_constraints_equality": "constraint_state.active",
    "n_constraints_frictionloss": "constraint_state.active",
    "n_constraints_cone": "constraint_state.active",
}
_FREE = ("errno", "ctrl_mode", "pair_idx")  # compared alone, never followed

Arrays = Mapping[str, Mapping[str, Tensor]]  # solver -> array -> its numbers


def check_indices(saved: Arrays, own: Arrays) -> None:
    """Raise ValueError where a saved scene cannot be one that was built as our `own` was."""
    if {name: set(arrays) for name, arrays in saved.items()} != {name: set(arrays) for name, arrays in own.items()}:
        raise ValueError("the state of the scene has other arrays than Genesis has here, as by another version of it")
    for solver, arrays in own.items():
        for name, here in arrays.items():
            there = saved[solver][name]
            if not isinstance(there, Tensor) or there.shape != here.shape:
                raise ValueError(f"{name:.60} of the scene has not the shape {list(here.shape)}")
            if not (here.is_floating_point() or str(here.dtype) == "torch.bool"):
                _check(name, there, here, arrays)


def own_state(state: Mapping[str, Any], shape: Sequence[int], num_cubes: int) -> list[Tensor]:
    """Return elapsed [B], target [B, A] and named [B] of a saved task, whose targets have `shape`.

    Raises ValueError for those of other worlds, and for an instruction that names none of the cubes.
    """
    found = [state[name].clone() for name in ("elapsed", "target", "named")]
    if [tuple(one.shape) for one in found] != [(shape[0],), tuple(shape), (shape[0],)]:
        raise ValueError(f"the state of the worlds is not of {shape[0]} worlds with {shape[1]} numbers of an action")
    if not bool(((found[2] >= 0) & (found[2] < num_cubes)).all()):
        raise ValueError("an instruction names a cube that is not there")
    return found


def _check(name: str, there: Tensor, here: Tensor, arrays: Mapping[str, Tensor]) -> None:
    word = name.rpartition(".")[2]
    if there.is_floating_point():
        raise ValueError(f"{name} of the scene has no whole numbers")
    if word in _LENGTH:
        end = len(arrays[_LENGTH[word]]) + word.startswith("n_")
        none = -1 if word.startswith(("geom", "link")) else 0  # a contact that was cleared
        fits = bool(((there >= none) & (there < end)).all())
    else:
        fits = word in _FREE or bool((there.long() == here.long()).all())
    if not fits:
        raise ValueError(f"{name} of the scene has numbers that this scene cannot have")
