"""Reads and restores MuJoCo's data in mid-episode: its integration state, and the derived quantities that lag behind.

    state_dict: mj_getState(mjSTATE_INTEGRATION), every buffer of fixed size, properties of the model
    load_state_dict: properties -> mj_setState -> mj_forward -> buffers

MuJoCo follows the indices in its arrays unchecked, and a state may come from anybody: whole numbers are never restored,
and real ones only under the names and in the shapes that `state_dict` reads.

After `mj_step`, positions of bodies, inertias and forces are still those from before the last integration, and rewards
read them before the next step updates them; `mj_forward` alone would update them one step too early. Some environments
also change the model when they are reset: they move fixed bodies and goals (MetaWorld), or draw masses, friction and
gravity. Meshes, textures and height fields are taken for constant. mujoco is imported only for environments that have
it loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_PROPERTIES = ("body_", "geom_", "site_", "jnt_", "dof_", "tendon_", "eq_", "actuator_", "cam_", "light_", "mat_")


def is_data(value: Any) -> bool:
    """Whether this is MuJoCo's MjData."""
    return _is_mujoco(value, "MjData")


def is_restorable(data: Any) -> bool:
    """Whether `state_dict` reads all of `data`: sleeping trees and delays have state that consists of indices."""
    import mujoco

    model = data.model
    return not (model.opt.enableflags & int(mujoco.mjtEnableBit.mjENBL_SLEEP) or getattr(model, "nhistory", 0))


def is_description(value: Any) -> bool:
    """Whether this is MuJoCo's model, whose properties belong to the data here, or gymnasium's renderer of it."""
    return _is_mujoco(value, "MjModel") or type(value).__name__ == "MujocoRenderer"


def state_dict(data: Any) -> dict[str, Any]:
    """Read all of `data` that later steps and rewards depend on: float64 and int tensors."""
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(data.model, kind))
    mujoco.mj_getState(data.model, data, state, kind)
    buffers = _buffers(data, mujoco.MjData(data.model)).items()
    fixed = {name: torch.from_numpy(array.copy()) for name, array in buffers if array.dtype.kind == "f"}
    properties = {name: torch.from_numpy(array.copy()) for name, array in _properties(data.model).items()}
    options = {name: torch.as_tensor(np.array(value)) for name, value in _options(data.model).items()}
    model = {"places": properties, "options": options}  # checkpoints of earlier versions have places alone
    return {"integration": torch.from_numpy(state), "buffers": fixed, **model}


def load_state_dict(data: Any, state: dict[str, Any]) -> None:
    """Restore what `state_dict` read, in `data` of the same model.

    Raises ValueError for other names, types and shapes, before anything is changed.
    """
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    buffers = _buffers(data, mujoco.MjData(data.model))
    places, options = state.get("places", {}), state.get("options", {})  # checkpoints of the first versions lack them
    _check("model", places, _properties(data.model))
    _check("options", options, _options(data.model))
    _check("data", state["buffers"], buffers)
    integration: Tensor = state["integration"]
    _check("data", {"integration": integration}, {"integration": np.empty(mujoco.mj_stateSize(data.model, kind))})
    if not bool(integration.isfinite().all()):
        raise ValueError("the integration state of MuJoCo's data is not finite")
    for name, numbers in places.items():
        getattr(data.model, name)[:] = numbers.numpy()
    for name, value in options.items():
        setattr(data.model.opt, name, value.numpy() if value.ndim else value.item())
    mujoco.mj_setState(data.model, data, integration.numpy(), kind)
    mujoco.mj_forward(data.model, data)
    for name, buffer in state["buffers"].items():
        if buffer.is_floating_point():  # earlier versions saved whole numbers too, which mj_forward has computed
            getattr(data, name)[:] = buffer.numpy()


def _check(where: str, saved: dict[str, Tensor], own: dict[str, Any]) -> None:
    """Raise ValueError for the first array that MuJoCo's `own` lack, or have in another type or shape."""
    for name, numbers in saved.items():
        if name not in own:
            raise ValueError(f"{name!r} is nothing that changes in MuJoCo's {where}")
        here = np.asarray(own[name])
        if not isinstance(numbers, Tensor) or numbers.numpy().dtype != here.dtype or numbers.shape != here.shape:
            raise ValueError(f"{name} of MuJoCo's {where} is not {here.dtype} of shape {list(here.shape)}")


def _properties(model: Any) -> dict[str, Any]:
    """Select the real numbers that the bodies, joints and other parts of a model have."""
    arrays = {name: getattr(model, name) for name in dir(model) if name.startswith(_PROPERTIES)}
    return {
        name: array
        for name, array in arrays.items()
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.size
    }


def _options(model: Any) -> dict[str, Any]:
    """Select the real numbers among the options of a model's physics, such as gravity."""
    options = {name: getattr(model.opt, name) for name in dir(model.opt) if not name.startswith("_")}
    return {name: value for name, value in options.items() if isinstance(value, float | np.ndarray)}


def memory(data: Any) -> dict[str, Any]:
    """Return the arrays of fixed size of `data` and of its model, under names by which another process finds them."""
    import mujoco

    model = data.model
    arrays = {f"model.{name}": getattr(model, name) for name in dir(model) if not name.startswith("_")}
    arrays |= {f"data.{name}": buffer for name, buffer in _buffers(data, mujoco.MjData(model)).items()}
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray) and array.size}


def _buffers(data: Any, fresh: Any) -> dict[str, Any]:
    """Select the arrays of `data` whose size does not depend on the number of contacts: `fresh` data have the same."""
    arrays = {name: getattr(fresh, name) for name in dir(fresh) if not name.startswith("_")}
    fixed = {name: array.shape for name, array in arrays.items() if isinstance(array, np.ndarray) and array.size}
    found = {name: getattr(data, name) for name in fixed}
    return {name: array for name, array in found.items() if array.shape == fixed[name] and array.dtype.kind in "bif"}


def _is_mujoco(value: Any, name: str) -> bool:
    return type(value).__name__ == name and type(value).__module__.partition(".")[0] == "mujoco"
